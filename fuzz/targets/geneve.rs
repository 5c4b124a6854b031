//! GENEVE headers and their options.

#![no_main]

use arbitrary::Unstructured;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tower_lb::geneve::{AwsOptions, DecodeError, Header, TunnelOption, decode};

fuzz_target!(|bytes: &[u8]| {
    let datagram = Bytes::copy_from_slice(bytes);
    if let Ok((header, payload)) = Header::split(datagram.clone()) {
        assert_eq!([&header.as_bytes()[..], &payload].concat(), bytes);
        let lengths = header.options().map(|option| 4 + option.data.len());
        assert_eq!(8 + lengths.sum::<usize>(), header.as_bytes().len());
        write_again(&header);
        let options = AwsOptions::of(&header);
        if let Ok(options) = options {
            encode_again(&options, header.protocol());
        }
        // What is decoded are these two parts.
        match decode(datagram) {
            Ok((same, packet)) => {
                assert_eq!(same, header);
                assert_eq!(packet.as_bytes(), &payload);
                assert_eq!(packet.options(), options.as_ref().ok());
            }
            Err(error @ DecodeError::Packet(_)) => assert!(options.is_ok(), "{error}"),
            Err(_) => {}
        }
    } else {
        assert!(decode(datagram).is_err());
    }
    let _ = header_of_parts(&mut Unstructured::new(bytes));
});

/// A header of the same parts says the same. Only reserved bits may differ.
fn write_again(header: &Header) {
    let options: Vec<_> = header.options().collect();
    let again = Header::new(header.protocol(), header.network(), options.iter().copied());
    let again = again.expect("the options were in a header");
    let (read, rest) = Header::split(again.as_bytes().clone()).expect("it was just written");
    assert!(rest.is_empty());
    assert_eq!((read.protocol(), read.network()), (header.protocol(), header.network()));
    assert!(read.options().eq(options) && !read.is_control());
}

fn encode_again(options: &AwsOptions, protocol: u16) {
    let (header, rest) = Header::split(Bytes::copy_from_slice(&options.encode(protocol)))
        .expect("the options have a valid header");
    assert!(rest.is_empty());
    assert_eq!((AwsOptions::of(&header), header.protocol()), (Ok(*options), protocol));
}

/// A header of any parts is either refused or read as it was written.
fn header_of_parts(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (protocol, network): (u16, u32) = input.arbitrary()?;
    let parts: Vec<(u16, u8, &[u8])> = input.arbitrary()?;
    let options = parts.iter().map(|&(class, kind, data)| TunnelOption { class, kind, data });
    if let Ok(header) = Header::new(protocol, network, options.clone()) {
        assert_eq!((header.protocol(), header.network()), (protocol, network & 0x00FF_FFFF));
        assert!(header.options().eq(options));
        write_again(&header);
    }
    Ok(())
}
