//! A watched file or directory yields what has changed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::StreamExt;
use tokio::time::timeout;
use tower_lb::alb::config::{Check, Checked, Problems, Watch, Zone};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tower-lb-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        // Renamed, so that no half of a file is seen.
        let path = self.0.join(name);
        fs::write(self.0.join("new.tmp"), text).unwrap();
        fs::rename(self.0.join("new.tmp"), &path).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const INTERVAL: Duration = Duration::from_millis(20);

fn watch(path: &Path) -> Watch {
    Watch::builder(path).interval(INTERVAL).check(Check::new()).build().unwrap()
}

async fn next(watch: &mut Watch) -> Result<Checked, Problems> {
    timeout(Duration::from_secs(10), watch.next()).await.expect("no item").unwrap()
}

async fn nothing(watch: &mut Watch) {
    let item = timeout(15 * INTERVAL, watch.next()).await;
    assert!(item.is_err(), "{item:?}");
}

#[tokio::test]
async fn a_file() {
    let directory = Directory::new("watch-file");
    let path = directory.write("alb.toml", "[[listeners]]\nport = 80");
    let mut watch = watch(&path);
    assert_eq!(next(&mut watch).await.unwrap().listeners[0].port, 80);
    nothing(&mut watch).await;
    // The same content with another time is no change.
    directory.write("alb.toml", "[[listeners]]\nport = 80");
    nothing(&mut watch).await;
    directory.write("alb.toml", "[[listeners]]\nport = 81");
    assert_eq!(next(&mut watch).await.unwrap().listeners[0].port, 81);
    directory.write("alb.toml", "[[listeners]]\nport = 0");
    let problems = next(&mut watch).await.unwrap_err();
    assert!(problems.to_string().contains("`listeners.0.port`"), "{problems}");
    nothing(&mut watch).await;
    fs::remove_file(&path).unwrap();
    assert!(next(&mut watch).await.is_err());
    nothing(&mut watch).await;
    // The valid configuration of before is an item again: the program was told of the problems.
    directory.write("alb.toml", "[[listeners]]\nport = 81");
    assert_eq!(next(&mut watch).await.unwrap().listeners[0].port, 81);
}

#[tokio::test]
async fn a_directory_behind_a_link() {
    let directory = Directory::new("watch-link");
    let of = |name: &str, zone: &str| {
        let path = directory.0.join(name);
        fs::create_dir_all(&path).unwrap();
        let text = format!(
            r#"{{"LoadBalancers": [{{"LoadBalancerArn": "arn:lb", "LoadBalancerName": "a",
                "AvailabilityZones": [{{"ZoneName": "{zone}"}}]}}]}}"#
        );
        fs::write(path.join("load-balancers.json"), text).unwrap();
        path
    };
    let (first, second) = (of("first", "a"), of("second", "b"));
    let link = directory.0.join("current");
    std::os::unix::fs::symlink(&first, &link).unwrap();
    let mut watch = watch(&link);
    assert_eq!(next(&mut watch).await.unwrap().load_balancer.zones, [Zone::new("a")]);
    nothing(&mut watch).await;
    std::os::unix::fs::symlink(&second, directory.0.join("next")).unwrap();
    fs::rename(directory.0.join("next"), &link).unwrap();
    assert_eq!(next(&mut watch).await.unwrap().load_balancer.zones, [Zone::new("b")]);
    // Bindings of the directory are watched, too.
    fs::write(second.join("bindings.toml"), "[listen]\n80 = [\"127.0.0.1:8080\"]").unwrap();
    assert_eq!(next(&mut watch).await.unwrap().bindings.listen.len(), 1);
}

#[test]
fn nonsense_is_rejected() {
    assert_eq!(
        Watch::builder("a").interval(Duration::ZERO).build().unwrap_err().field(),
        "interval"
    );
}
