//! tshark reads what a gateway sends.

use std::process::Command;

use etherparse::PacketBuilder;
use tower_lb::geneve::Gateway;

use crate::rig::{Rig, syn, udp};

/// A capture file with packets that begin with their IP header.
fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
    const RAW: u32 = 101;
    let mut file = Vec::new();
    let header = [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 65_535, RAW];
    file.extend(header.iter().flat_map(|word| word.to_le_bytes()));
    for packet in packets {
        let length = packet.len() as u32;
        file.extend([0, 0, length, length].iter().flat_map(|word: &u32| word.to_le_bytes()));
        file.extend(packet);
    }
    file
}

#[tokio::test]
async fn tshark_reads_what_a_gateway_sends() {
    if Command::new("tshark").arg("--version").output().is_err() {
        println!("SKIPPED: tshark is not installed");
        return;
    }
    let settings = Gateway::builder().endpoint_id(0x0102_0304_0506_0708).attachment_id(9);
    let rig = Rig::start(settings, 1).await;
    let inner = [
        syn("10.0.0.1:40000", "10.0.9.9:443"),
        udp("[2001:db8::1]:5000", "[2001:db8::2]:9999", b"payload"),
    ];
    let (mut packets, mut cookies) = (Vec::new(), Vec::new());
    for packet in inner {
        let (_, delivered) = rig.deliver(packet).await;
        cookies.push(delivered.packet.options().unwrap().flow_cookie);
        let datagram = [delivered.header.as_bytes(), &delivered.packet.as_bytes()[..]].concat();
        let mut bytes = Vec::new();
        PacketBuilder::ipv4([127, 0, 0, 1], [127, 0, 0, 2], 64)
            .udp(6081, 6081)
            .write(&mut bytes, &datagram)
            .unwrap();
        packets.push(bytes);
    }
    let file = std::env::temp_dir().join(format!("geneve-{}.pcap", std::process::id()));
    std::fs::write(&file, capture(&packets)).unwrap();
    let fields = "geneve.version geneve.flags.oam geneve.flags.critical geneve.proto_type geneve.vni \
                  geneve.option.class geneve.option.type geneve.option.length geneve.option.unknown.data \
                  tcp.dstport udp.dstport _ws.malformed";
    let mut tshark = Command::new("tshark");
    tshark.args(["-r", file.to_str().unwrap(), "-T", "fields", "-E", "separator=/s"]);
    tshark.args(fields.split_whitespace().flat_map(|field| ["-e", field]));
    let output = tshark.output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(output.status.success());
    for (line, (cookie, protocol)) in lines.iter().zip(cookies.iter().zip(["0x0800", "0x86dd"])) {
        let line = line.to_lowercase();
        assert!(line.contains(protocol) && !line.contains("malformed"), "{line}");
        assert!(
            line.contains(&format!("0102030405060708,0000000000000009,{cookie:08x}")),
            "{line}"
        );
    }
    assert!(lines[0].contains("443") && lines[1].contains("6081,9999"), "{text}");
}
