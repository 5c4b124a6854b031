//! What an idle connection costs.

use std::{io::Write, net::TcpStream, time::Duration};

use crate::{
    child::Process,
    wire::{PREFACE, SETTINGS},
};

/// Resident memory of a process in bytes.
fn memory(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn http1() -> Vec<u8> {
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()
}

fn http2() -> Vec<u8> {
    let head = [0x82, 0x86, 0x84, 0x41, 0x01, b'h'];
    [PREFACE, SETTINGS, &[0, 0, 6, 1, 5, 0, 0, 0, 1], &head].concat()
}

/// Each connection has had one request, and is idle now. The figures are printed; the limits are
/// those of an unoptimized build, far above them.
#[test]
fn of_an_idle_connection() {
    const CONNECTIONS: usize = 1000;
    for (name, request, most) in [
        ("no request", Vec::new(), 16 << 10),
        ("HTTP/1.1", http1(), 40 << 10),
        ("HTTP/2", http2(), 80 << 10),
    ] {
        let (process, address) = Process::start("ulimit -n 4096; exec \"$0\" \"$@\"", None);
        let open = || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&request).unwrap();
            stream
        };
        // What is allocated once.
        drop((0..50).map(|_| open()).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(300));
        let before = memory(process.0.id());
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| open()).collect();
        std::thread::sleep(Duration::from_millis(700));
        let each = memory(process.0.id()).saturating_sub(before) / CONNECTIONS;
        println!("{name}: {each} bytes for each idle connection");
        assert!(each < most, "{name}: {each} bytes for each of {}", connections.len());
    }
}
