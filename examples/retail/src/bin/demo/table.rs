//! Small tables for the terminal.

/// Rows of text under headings; numbers stand to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).into()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    pub(crate) fn print(&self) {
        for line in self.lines() {
            println!("    {line}");
        }
    }

    fn lines(&self) -> Vec<String> {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        let is_number =
            |column: usize| self.rows[1..].iter().all(|row| row[column].starts_with(|c: char| c.is_ascii_digit() || c == '-'));
        let numeric: Vec<bool> = (0..widths.len()).map(is_number).collect();
        let cell = |column: usize, text: &String| {
            let width = widths[column];
            if numeric[column] { format!("{text:>width$}") } else { format!("{text:<width$}") }
        };
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().enumerate().map(|(column, text)| cell(column, text)).collect();
            cells.join("  ").trim_end().to_owned()
        };
        let mut lines: Vec<String> = self.rows.iter().map(line).collect();
        lines.insert(1, widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("  "));
        lines
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["topic", "rows"]);
        table.row(["a".into(), thousands(1_234_567)]);
        table.row(["orders".into(), thousands(12)]);
        assert_eq!(table.lines(), ["topic        rows", "------  ---------", "a       1,234,567", "orders         12"]);
    }
}
