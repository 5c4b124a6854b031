//! A file that changes in all the ways that files do.
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::StreamExt;
use tokio::time::timeout;
use tower_lb::discover::{File, Refresh, SourceError, Update};

const MS: Duration = Duration::from_millis(1);

/// A directory of its own for a test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tower-lb-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn watch(path: &Path) -> Refresh<String, String> {
    File::new(path).interval(20 * MS).watch().unwrap()
}

fn document(name: &str) -> String {
    format!("{{\"endpoints\": [\"{name}\"]}}")
}

async fn item(source: &mut Refresh<String, String>) -> Result<Vec<String>, SourceError> {
    let item = timeout(Duration::from_secs(20), source.next()).await.expect("an item").unwrap();
    item.map(|update| match update {
        Update::Reset(all) => all.into_iter().map(|(key, _)| key).collect(),
        update => panic!("{update:?}"),
    })
}

/// The next endpoints. There may be a moment in which the file is empty or missing.
async fn found(source: &mut Refresh<String, String>) -> Vec<String> {
    loop {
        if let Ok(found) = item(source).await {
            return found;
        }
    }
}

/// That nothing is told for a while.
async fn quiet(source: &mut Refresh<String, String>) {
    let told = timeout(150 * MS, source.next()).await;
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test]
async fn a_file_that_is_renamed_over_it() {
    let directory = Directory::new("rename");
    let path = directory.at("endpoints.json");
    fs::write(&path, document("a")).unwrap();
    let mut source = watch(&path);
    assert_eq!(item(&mut source).await.unwrap(), ["a"]);
    quiet(&mut source).await;
    for name in ["b", "c", "d"] {
        let new = directory.at("new");
        fs::write(&new, document(name)).unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(item(&mut source).await.unwrap(), [name]);
    }
    assert_eq!(source.status().report().endpoints, 1);
}

#[tokio::test]
async fn a_file_that_is_too_long() {
    let directory = Directory::new("long");
    let path = directory.at("endpoints.json");
    fs::write(&path, document("a")).unwrap();
    let mut source = watch(&path);
    assert_eq!(item(&mut source).await.unwrap(), ["a"]);
    fs::File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    let error = loop {
        // The file is empty for a moment.
        let error = item(&mut source).await.unwrap_err().to_string();
        if error.contains("longer") {
            break error;
        }
    };
    assert!(error.ends_with("the file is longer than 67108864 bytes"), "{error}");
    assert_eq!(source.status().report().endpoints, 1, "the last stay");
    fs::write(&path, document("b")).unwrap();
    assert_eq!(found(&mut source).await, ["b"]);
}

/// Of the same length, at once, so that the file's attributes need not differ.
#[tokio::test]
async fn a_file_that_is_written_in_place() {
    let directory = Directory::new("in-place");
    let path = directory.at("endpoints.json");
    fs::write(&path, document("a")).unwrap();
    let mut source = watch(&path);
    assert_eq!(item(&mut source).await.unwrap(), ["a"]);
    for name in ["b", "c", "d", "e"] {
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, document(name)).unwrap();
        // As a file system with a coarse clock would have it.
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(found(&mut source).await, [name]);
    }
}

/// `endpoints.json` is a link to `..data/endpoints.json`, `..data` one to a directory, and that is
/// replaced.
#[cfg(unix)]
#[tokio::test]
async fn a_link_that_is_swapped_as_kubernetes_does() {
    use std::os::unix::fs::symlink;

    let directory = Directory::new("symlink");
    let publish = |name: &str| {
        let version = directory.at(&format!("..version-{name}"));
        fs::create_dir(&version).unwrap();
        fs::write(version.join("endpoints.json"), document(name)).unwrap();
        symlink(&version, directory.at("..data_tmp")).unwrap();
        fs::rename(directory.at("..data_tmp"), directory.at("..data")).unwrap();
    };
    publish("a");
    symlink("..data/endpoints.json", directory.at("endpoints.json")).unwrap();
    let mut source = watch(&directory.at("endpoints.json"));
    assert_eq!(item(&mut source).await.unwrap(), ["a"]);
    for (name, old) in [("b", "a"), ("c", "b")] {
        publish(name);
        fs::remove_dir_all(directory.at(&format!("..version-{old}"))).unwrap();
        assert_eq!(found(&mut source).await, [name]);
    }
}

#[tokio::test]
async fn a_broken_file_is_told_once_and_kept_out() {
    let directory = Directory::new("broken");
    let path = directory.at("endpoints.toml");
    let mut source = watch(&path);
    let status = source.status();
    let missing = item(&mut source).await.unwrap_err();
    assert!(missing.to_string().starts_with(&format!("file {}: ", path.display())), "{missing}");
    quiet(&mut source).await;

    let write = |content: &[u8]| {
        fs::write(directory.at("new"), content).unwrap();
        fs::rename(directory.at("new"), &path).unwrap();
    };
    write(b"endpoints = [\"a\"]");
    assert_eq!(item(&mut source).await.unwrap(), ["a"]);
    write(b"endpoints = [\n\"b\",\n");
    let broken = item(&mut source).await.unwrap_err().to_string();
    assert!(broken.contains("line 2, column 5: unclosed array"), "{broken}");
    quiet(&mut source).await;
    assert_eq!(status.report().failures, 1);
    assert!(status.report().last_error.is_some());

    write(b"endpoints = [\n\"b\",\n]");
    assert_eq!(item(&mut source).await.unwrap(), ["b"]);
    assert_eq!(status.report().failures, 0);
    write(&[0xFF, 0xFE, 0x00]);
    item(&mut source).await.unwrap_err();
    fs::remove_file(&path).unwrap();
    quiet(&mut source).await;
    write(b"endpoints = []");
    assert!(item(&mut source).await.unwrap().is_empty());
}

#[test]
fn nonsense_is_rejected() {
    let error = File::new("/etc/endpoints.ini").watch::<String>().unwrap_err();
    assert_eq!(error.field(), "format");
    assert!(error.to_string().contains("the extension of /etc/endpoints.ini"));
    let zero = File::new("a.json").interval(Duration::ZERO).watch::<String>();
    assert_eq!(zero.unwrap_err().field(), "interval");
}
