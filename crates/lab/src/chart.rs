//! Message charts: who sent what to whom, in the order of a capture, with what
//! tshark says about each packet.
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use crate::decode::Decoded;

/// Width of a column.
const COLUMN: usize = 16;

/// A message chart.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    title: String,
    columns: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    time: Duration,
    from: End,
    to: End,
    text: String,
}

/// An end of an arrow: a column, or an address that no column has.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Column(usize),
    Elsewhere(String),
}

impl Chart {
    /// `columns` are the names of hosts, `hosts` says whose an address is, and
    /// `labels` names the fields of the packets, in their order.
    pub(crate) fn new(
        title: &str,
        columns: &[String],
        hosts: &BTreeMap<Ipv6Addr, String>,
        labels: &[&String],
        packets: &[Decoded],
    ) -> Self {
        let start = packets.first().map_or(Duration::ZERO, |first| first.time);
        let end = |address: Option<Ipv6Addr>| {
            let Some(address) = address else {
                return End::Elsewhere("?".to_owned());
            };
            let column = hosts
                .get(&address)
                .and_then(|host| columns.iter().position(|column| column == host));
            column.map_or_else(|| End::Elsewhere(address.to_string()), End::Column)
        };
        let rows = packets
            .iter()
            .map(|packet| {
                let fields = labels.iter().zip(&packet.fields);
                let told: Vec<String> = fields
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(label, value)| format!("{label} {value}"))
                    .collect();
                let mut text = packet.info.clone();
                if !told.is_empty() {
                    text = format!("{text}: {}", told.join(", "));
                }
                Row {
                    time: packet.time.saturating_sub(start),
                    from: end(packet.src),
                    to: end(packet.dst),
                    text,
                }
            })
            .collect();
        Self {
            title: title.to_owned(),
            columns: columns.to_vec(),
            rows,
        }
    }
}

impl Row {
    /// The lifelines with an arrow from one end to the other.
    fn arrow(&self, columns: usize) -> String {
        let width = COLUMN * columns;
        let mut line: Vec<char> = " ".repeat(width).chars().collect();
        let middle = |column: usize| column * COLUMN + COLUMN / 2;
        for column in 0..columns {
            line[middle(column)] = '|';
        }
        let place = |end: &End| match end {
            End::Column(column) => Some(middle(*column)),
            End::Elsewhere(_) => None,
        };
        // An end without a column lies beyond the right border.
        let (from, to) = (place(&self.from), place(&self.to));
        let beyond = width - 1;
        let (low, high, right) = match (from, to) {
            (Some(a), Some(b)) if a == b => return line.into_iter().collect(),
            (Some(a), Some(b)) => (a.min(b), a.max(b), a < b),
            (Some(a), None) => (a, beyond, true),
            (None, Some(b)) => (b, beyond, false),
            (None, None) => return line.into_iter().collect(),
        };
        for place in &mut line[low + 1..high] {
            *place = '-';
        }
        match right {
            true => line[high - 1] = '>',
            false => line[low + 1] = '<',
        }
        line.into_iter().collect()
    }
}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        write!(f, "{:>10} ", "s")?;
        for column in &self.columns {
            write!(f, "{column:^COLUMN$}")?;
        }
        writeln!(f)?;
        for row in &self.rows {
            let time = row.time.as_secs_f64();
            write!(f, "{time:10.4} {}", row.arrow(self.columns.len()))?;
            let beyond: Vec<String> = [("from", &row.from), ("to", &row.to)]
                .into_iter()
                .filter_map(|(word, end)| match end {
                    End::Elsewhere(address) => Some(format!("{word} {address} ")),
                    End::Column(_) => None,
                })
                .collect();
            writeln!(f, " {}{}", beyond.concat(), row.text)?;
        }
        if self.rows.is_empty() {
            writeln!(f, "{:>10} no packet", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ms: u64, src: &str, dst: &str, info: &str, field: &str) -> Decoded {
        Decoded {
            time: Duration::from_millis(10_000 + ms),
            src: src.parse().ok(),
            dst: dst.parse().ok(),
            info: info.to_owned(),
            fields: vec![field.to_owned()],
        }
    }

    #[test]
    fn a_chart_shows_who_sent_what_to_whom() {
        let hosts = [("2001:db8::1", "AR1"), ("2001:db8::2", "HAA")]
            .map(|(address, host)| (address.parse().unwrap(), host.to_owned()))
            .into();
        let columns = ["AR1".to_owned(), "HAA".to_owned()];
        let label = "sequence".to_owned();
        let packets = [
            packet(0, "2001:db8::1", "2001:db8::2", "Binding Update", "200"),
            packet(1, "2001:db8::2", "2001:db8::1", "Binding Ack", ""),
            packet(2500, "2001:db8::9", "2001:db8::1", "Echo", ""),
        ];
        let chart = Chart::new("Figure 12", &columns, &hosts, &[&label], &packets);
        let expected = "\
Figure 12
         s       AR1             HAA       \n\
\x20   0.0000         |-------------->|        Binding Update: sequence 200
    0.0010         |<--------------|        Binding Ack
    2.5000         |<--------------|------  from 2001:db8::9 Echo
";
        // The last arrow passes the column it does not concern.
        let shown = chart.to_string();
        let shown: Vec<_> = shown.lines().map(str::trim_end).collect();
        let expected: Vec<_> = expected.lines().map(str::trim_end).collect();
        assert_eq!(shown[..4], expected[..4]);
        assert!(shown[4].ends_with("from 2001:db8::9 Echo"));
        assert!(shown[4].contains("|<---"));
    }
}
