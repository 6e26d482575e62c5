//! Bytes cut into lines: each ends with `\n`, `\r\n` or `\r`.

/// Bytes that were read, and how far they were cut.
#[derive(Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins.
    from: usize,
    /// Up to here no line ends behind `from`.
    searched: usize,
}

impl Lines {
    /// What is read goes here.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.from);
        self.searched -= self.from;
        self.from = 0;
        &mut self.bytes
    }

    /// The next line without its end, and how many bytes it took with it. `None` when its end is not there yet, or a `\r` may be the
    /// first half of one.
    pub(crate) fn next(&mut self) -> Option<(&[u8], usize)> {
        let rest = &self.bytes[self.searched..];
        let Some(found) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.searched = self.bytes.len();
            return None;
        };
        let end = self.searched + found;
        let behind = match self.bytes[end] {
            b'\r' if end + 1 == self.bytes.len() => {
                self.searched = end;
                return None;
            }
            b'\r' if self.bytes[end + 1] == b'\n' => end + 2,
            _ => end + 1,
        };
        let from = std::mem::replace(&mut self.from, behind);
        self.searched = behind;
        Some((&self.bytes[from..end], behind - from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(lines: &mut Lines) -> Vec<(String, usize)> {
        let mut all = Vec::new();
        while let Some((line, took)) = lines.next() {
            all.push((String::from_utf8_lossy(line).into_owned(), took));
        }
        all
    }

    #[test]
    fn lines_end_in_three_ways_wherever_the_bytes_were_parted() {
        let text = "a\nbc\r\n\r\rd\r\n\ne";
        let expected: Vec<(String, usize)> =
            [("a", 2), ("bc", 4), ("", 1), ("", 1), ("d", 3), ("", 1)].map(|(line, took)| (line.to_owned(), took)).into();
        for first in 0..text.len() {
            for second in first..text.len() {
                let mut lines = Lines::default();
                let mut all = Vec::new();
                for part in [&text[..first], &text[first..second], &text[second..]] {
                    lines.buffer().extend_from_slice(part.as_bytes());
                    all.extend(cut(&mut lines));
                }
                assert_eq!(all, expected, "parted at {first} and {second}");
            }
        }
    }
}
