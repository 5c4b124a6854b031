//! Prints what criterion has measured as Markdown tables, one for each group: the medians, in ns.
//!
//! Looks into `target/criterion`, or the directory it is given.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// By group, contender and column.
type Medians = BTreeMap<String, BTreeMap<String, BTreeMap<Column, f64>>>;

/// Ordered as numbers where they are numbers.
type Column = (Option<u64>, String);

fn main() -> Result<()> {
    let root = env::args_os().nth(1);
    let root = root.map_or_else(|| "target/criterion".into(), PathBuf::from);
    let mut medians = Medians::new();
    collect(&root, &mut medians)?;
    for (group, rows) in &medians {
        print(group, rows);
    }
    Ok(())
}

fn collect(directory: &Path, medians: &mut Medians) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.ends_with("new") {
            let id = read(&path.join("benchmark.json"))?;
            let estimates = read(&path.join("estimates.json"))?;
            let text = |key: &str| id[key].as_str().unwrap_or_default().to_owned();
            let column = text("value_str");
            let median = estimates["median"]["point_estimate"].as_f64();
            medians
                .entry(text("group_id"))
                .or_default()
                .entry(text("function_id"))
                .or_default()
                .insert((column.parse().ok(), column), median.ok_or("no median")?);
        } else if path.is_dir() {
            collect(&path, medians)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

fn print(group: &str, rows: &BTreeMap<String, BTreeMap<Column, f64>>) {
    let columns: BTreeSet<&Column> = rows.values().flat_map(BTreeMap::keys).collect();
    print!("| {group}, ns |");
    columns.iter().for_each(|(_, name)| print!(" {name} |"));
    print!("\n|---|");
    columns.iter().for_each(|_| print!("---:|"));
    println!();
    for (name, row) in rows {
        print!("| {name} |");
        for column in &columns {
            match row.get(*column) {
                Some(median) if *median < 100.0 => print!(" {median:.1} |"),
                Some(median) => print!(" {median:.0} |"),
                None => print!(" |"),
            }
        }
        println!();
    }
    println!();
}
