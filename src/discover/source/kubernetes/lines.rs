use crate::discover::source::http_api::BYTE_ORDER_MARK;

/// The longest line of a watch, in bytes. An event has one object, which etcd limits to 1.5 MiB by
/// default; as JSON it can be a few times as long.
const MAX_LINE_BYTES: usize = 16 << 20;

/// Splits a stream of pieces into lines. Each byte is read once, however small the pieces are.
#[derive(Debug)]
pub(super) struct Lines {
    /// The beginning of an incomplete line.
    pending: Vec<u8>,
    max: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self { pending: Vec::new(), max: MAX_LINE_BYTES }
    }
}

impl Lines {
    /// Adds a piece, and returns the lines that it completes, without empty lines.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let (mut lines, mut rest) = (Vec::new(), piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            self.append(line)?;
            let line = std::mem::take(&mut self.pending);
            let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line).trim_ascii();
            if !line.is_empty() {
                lines.push(line.to_vec());
            }
            rest = after.get(1..).unwrap_or_default();
        }
        self.append(rest)?;
        Ok(lines)
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), String> {
        if piece.len() > self.max - self.pending.len() {
            return Err(format!("a line of the watch is longer than {} bytes", self.max));
        }
        self.pending.extend_from_slice(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_came_in() {
        let text = "\u{feff}one\r\n\n two \nthree".as_bytes();
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let pieces = text.chunks(size).flat_map(|piece| lines.push(piece).unwrap());
            assert_eq!(pieces.collect::<Vec<_>>(), [b"one".to_vec(), b"two".to_vec()]);
            assert_eq!(lines.push(b"\n").unwrap(), [b"three".to_vec()]);
        }
    }

    #[test]
    fn a_line_has_a_bound_and_a_piece_has_none() {
        let lines = || Lines { max: 4, ..Lines::default() };
        assert_eq!(lines().push(b"1234\n5678\n9").unwrap().len(), 2);
        let too_long = Err("a line of the watch is longer than 4 bytes".to_owned());
        assert_eq!(lines().push(b"12345"), too_long);
        assert_eq!(lines().push(b"1\n23456\n7"), too_long);
        let mut lines = lines();
        for byte in b"1234" {
            lines.push(&[*byte]).unwrap();
        }
        assert_eq!(lines.push(b"5"), too_long);
    }

    /// If the pending line were read again for each piece, this would read 2 TiB.
    #[test]
    fn a_long_line_in_small_pieces_is_read_once() {
        let mut lines = Lines::default();
        for _ in 0..2 << 20 {
            assert!(lines.push(b"x").unwrap().is_empty());
        }
        assert_eq!(lines.push(b"\n").unwrap()[0].len(), 2 << 20);
    }
}
