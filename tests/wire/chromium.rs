//! A headless Chromium, driven by the DevTools protocol over pipes.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use base64::Engine;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// One page in a browser, which ends with the test.
pub(crate) struct Chromium {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    /// Exceptions of the page, and what the browser logs, such as violations of a policy.
    pub(crate) complaints: Vec<String>,
    profile: PathBuf,
}

impl Chromium {
    /// Starts a browser with an empty page, if Chromium is installed.
    pub(crate) fn start() -> Option<Self> {
        if !crate::peers::is_installed("chromium") {
            return None;
        }
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::SeqCst);
        let name = format!("tower-lb-chromium-{}-{number}", std::process::id());
        let profile = std::env::temp_dir().join(name);
        // Chromium reads commands from descriptor 3 and writes to descriptor 4.
        let mut process = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--remote-debugging-pipe", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let commands = process.stdin.take().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let (session, complaints) = (None, Vec::new());
        let mut this =
            Self { process, commands, messages, session, last_id: 0, complaints, profile };
        let target = this.command("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = this.command("Target.attachToTarget", attach);
        this.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            this.command(domain, json!({}));
        }
        this.size(1400, 1800, 1);
        Some(this)
    }

    pub(crate) fn command(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        loop {
            let message = self.messages.recv_timeout(LIMIT).expect("an answer of Chromium");
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            let complaints =
                ["Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening"];
            if complaints.iter().any(|method| message["method"] == *method) {
                self.complaints.push(message["params"].to_string());
            }
        }
    }

    pub(crate) fn open(&mut self, url: &str) {
        self.command("Page.navigate", json!({ "url": url }));
    }

    /// Emulates a window; a `scale` above 1 is a phone's.
    pub(crate) fn size(&mut self, width: u32, height: u32, scale: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": scale > 1 });
        self.command("Emulation.setDeviceMetricsOverride", size);
    }

    /// Emulates what the user prefers, such as `prefers-color-scheme`.
    pub(crate) fn prefer(&mut self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.command("Emulation.setEmulatedMedia", features);
    }

    /// Evaluates an expression in the page; a promise is awaited.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.command("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let start = Instant::now();
        // Until the page is there, most expressions fail.
        let tried = format!(
            "(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()"
        );
        while self.evaluate(&tried) != true {
            if start.elapsed() > LIMIT {
                let page = self.evaluate("document.body.innerText.slice(0, 2000)");
                panic!("never true: {expression}\n{}\n{page}", self.complaints.join("\n"));
            }
            thread::sleep(Duration::from_millis(30));
        }
    }

    /// Presses and releases a key, as a keyboard does.
    pub(crate) fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowUp" => (38, ""),
            "ArrowDown" => (40, ""),
            " " => (32, " "),
            character => (0, character),
        };
        let mut event = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if !text.is_empty() {
            event["text"] = json!(text);
        }
        self.command("Input.dispatchKeyEvent", event);
        let event = json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code });
        self.command("Input.dispatchKeyEvent", event);
    }

    pub(crate) fn insert_text(&mut self, text: &str) {
        self.command("Input.insertText", json!({ "text": text }));
    }

    /// Takes a picture of the window. It is kept if `DASHBOARD_PICTURES` names a directory.
    pub(crate) fn picture(&mut self, name: &str) -> Vec<u8> {
        let picture = self.command("Page.captureScreenshot", json!({ "format": "png" }));
        let picture =
            base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap());
        let picture = picture.unwrap();
        if let Some(directory) = std::env::var_os("DASHBOARD_PICTURES") {
            std::fs::write(PathBuf::from(directory).join(format!("{name}.png")), &picture).unwrap();
        }
        picture
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
