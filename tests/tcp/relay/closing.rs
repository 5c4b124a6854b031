use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::sleep,
};
use tower_lb::tcp::Relays;

use crate::{
    nlb::{before, soon, until},
    target::{Target, assert_reset, read, read_all, reset},
};

/// A target that hands its connections to the test.
async fn handed_over() -> (Target, mpsc::UnboundedReceiver<TcpStream>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let target = Target::start(move |stream| {
        let sent = sender.send(stream);
        async move { sent.unwrap() }
    })
    .await;
    (target, receiver)
}

#[tokio::test]
async fn each_side_may_close_first_and_listen_on() {
    let (target, mut accepted) = handed_over().await;
    let nlb = before(Relays::builder(), &[target.address]);

    let mut client = nlb.connect().await;
    let mut server = accepted.recv().await.unwrap();
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(soon(read_all(&mut server)).await, "question");
    sleep(Duration::from_millis(100)).await;
    server.write_all(b"answer").await.unwrap();
    drop(server);
    assert_eq!(soon(read_all(&mut client)).await, "answer");
    nlb.idle().await;

    let mut client = nlb.connect().await;
    let mut server = accepted.recv().await.unwrap();
    server.write_all(b"goodbye").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(soon(read_all(&mut client)).await, "goodbye");
    client.write_all(b"the rest").await.unwrap();
    drop(client);
    assert_eq!(soon(read_all(&mut server)).await, "the rest");
    nlb.idle().await;

    let status = nlb.relays.status();
    assert_eq!((status.connected, status.ended.closed), (2, 2));
    assert_eq!((status.bytes_to_targets, status.bytes_to_clients), (16, 13));
}

#[tokio::test]
async fn megabytes_pass_in_both_directions_at_once() {
    let target = Target::echo("").await;
    let nlb = before(Relays::builder(), &[target.address]);
    let sent: Vec<u8> =
        (0..20_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut reader, mut writer) = nlb.connect().await.into_split();
    let copy = sent.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&copy).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    soon(reader.read_to_end(&mut received)).await.unwrap();
    writing.await.unwrap();
    assert!(sent == received);
    nlb.idle().await;
    assert_eq!(nlb.relays.status().bytes_to_clients, 20_000_000);
}

/// A client that reads nothing holds up its target, and costs no more memory than the buffers.
#[tokio::test]
async fn a_receiver_that_is_slow_holds_up_its_sender() {
    let (target, mut accepted) = handed_over().await;
    let nlb = before(Relays::builder(), &[target.address]);
    let mut client = nlb.connect().await;
    let mut server = accepted.recv().await.unwrap();
    let chunk = vec![7; 1 << 20];
    let mut sent = 0;
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(500), server.write(&chunk)).await
    {
        sent += written.unwrap();
        assert!(sent < 100 << 20, "nothing holds it up");
    }
    drop(server);
    let mut received = Vec::new();
    soon(client.read_to_end(&mut received)).await.unwrap();
    assert_eq!(received.len(), sent);
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    let (target, mut accepted) = handed_over().await;
    let nlb = before(Relays::builder(), &[target.address]);

    let client = nlb.connect().await;
    let mut server = accepted.recv().await.unwrap();
    reset(client);
    soon(assert_reset(&mut server)).await;

    let mut client = nlb.connect().await;
    let mut server = accepted.recv().await.unwrap();
    server.write_all(b"half").await.unwrap();
    assert_eq!(read(&mut client, 4).await, "half");
    reset(server);
    soon(assert_reset(&mut client)).await;

    nlb.idle().await;
    let ended = nlb.relays.status().ended;
    assert_eq!((ended.client_reset, ended.target_reset, ended.total()), (1, 1, 2));
}

/// What a target has sent before it failed arrives, although the client cannot send any more.
#[tokio::test]
async fn a_response_arrives_before_the_reset_that_follows_it() {
    let (target, mut accepted) = handed_over().await;
    let nlb = before(Relays::builder(), &[target.address]);
    let mut client = nlb.connect().await;
    let mut server = accepted.recv().await.unwrap();
    server.write_all(b"too large").await.unwrap();
    client.write_all(b"unread").await.unwrap();
    until("it is sent", || nlb.relays.status().bytes_to_targets == 6).await;
    // Unread bytes make the kernel send a reset.
    drop(server);
    assert_eq!(read(&mut client, 9).await, "too large");
    soon(assert_reset(&mut client)).await;
}

#[tokio::test]
async fn silence_is_ended_with_resets() {
    let (target, mut accepted) = handed_over().await;
    let idle = Duration::from_millis(400);
    let nlb = before(Relays::builder().idle_timeout(idle), &[target.address]);
    let mut client = nlb.connect().await;
    let mut server = accepted.recv().await.unwrap();
    // Bytes of one direction keep both alive.
    for _ in 0..5 {
        sleep(idle / 2).await;
        server.write_all(b".").await.unwrap();
    }
    assert_eq!(read(&mut client, 5).await, ".....");
    let start = Instant::now();
    soon(assert_reset(&mut client)).await;
    soon(assert_reset(&mut server)).await;
    assert!(start.elapsed() > idle * 3 / 4 && start.elapsed() < idle * 10);
    nlb.idle().await;
    assert_eq!(nlb.relays.status().ended.idle, 1);
}

#[tokio::test]
async fn a_half_closed_connection_may_have_less_time() {
    let (target, mut accepted) = handed_over().await;
    let relays = Relays::builder().half_closed_timeout(Duration::from_millis(300));
    let nlb = before(relays, &[target.address]);
    let mut client = nlb.connect().await;
    let mut server = accepted.recv().await.unwrap();
    // Its time begins when a side closes, also after silence.
    sleep(Duration::from_millis(500)).await;
    client.shutdown().await.unwrap();
    assert_eq!(soon(read_all(&mut server)).await, "");
    for _ in 0..4 {
        sleep(Duration::from_millis(150)).await;
        server.write_all(b".").await.unwrap();
    }
    assert_eq!(read(&mut client, 4).await, "....");
    soon(assert_reset(&mut client)).await;
    nlb.idle().await;
    assert_eq!(nlb.relays.status().ended.idle, 1);
}
