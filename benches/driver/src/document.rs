//! A document whose tables are made anew, and whose prose stays.
use anyhow::{Context, Result};

/// `document` with each section between `<!-- begin NAME -->` and
/// `<!-- end NAME -->` replaced.
pub(crate) fn updated(document: &str, sections: &[(&str, String)]) -> Result<String> {
    let mut text = document.to_owned();
    for (name, body) in sections {
        let (begin, end) = (
            format!("<!-- begin {name} -->\n"),
            format!("<!-- end {name} -->"),
        );
        let from = text
            .find(&begin)
            .map(|at| at + begin.len())
            .with_context(|| format!("no line {}", begin.trim_end()))?;
        let to = text[from..]
            .find(&end)
            .map(|at| at + from)
            .with_context(|| format!("no line {end} behind its beginning"))?;
        text.replace_range(from..to, body);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "prose\n<!-- begin a -->\nold\n<!-- end a -->\nmore\n";
        let new = updated(text, &[("a", "| new |\n".into())]).unwrap();
        assert_eq!(
            new,
            "prose\n<!-- begin a -->\n| new |\n<!-- end a -->\nmore\n"
        );
        assert!(updated(text, &[("b", String::new())]).is_err());
        assert!(updated("<!-- begin a -->\n", &[("a", String::new())]).is_err());
    }
}
