use crate::{BoxError, discover::transport::check_length};

/// Collects what comes in pieces, and gives it out line by line.
#[derive(Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), BoxError> {
        self.pending.extend_from_slice(data);
        check_length(&self.pending)
    }

    /// All whole lines there are, without empty ones.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.pending.split_off(end + 1);
        let whole = std::mem::replace(&mut self.pending, rest);
        let lines = whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_came_in() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for byte in b"one\r\n\n two \nthree" {
            lines.push(&[*byte]).unwrap();
            seen.extend(lines.take());
        }
        assert_eq!(seen, [b"one".to_vec(), b"two".to_vec()]);
    }
}
