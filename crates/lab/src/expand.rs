//! Variables in scenarios: `${NAME}`; `$${` stands for `${`.
use std::collections::BTreeMap;

/// Values by name.
pub type Variables = BTreeMap<String, String>;

/// How deep values may refer to other values.
const DEPTH: u32 = 8;
/// How many references are followed, those in values included, and how long a text
/// may become: values that refer to others many times over would fill the memory.
const REFERENCES: u32 = 10_000;
const LENGTH: usize = 1 << 20;

/// Puts values in the place of their names.
pub(crate) fn expand(text: &str, variables: &Variables) -> Result<String, String> {
    expand_at(text, variables, DEPTH, &mut { REFERENCES })
}

fn expand_at(
    text: &str,
    variables: &Variables,
    depth: u32,
    left: &mut u32,
) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at]);
            out.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let line = 1 + text[..text.len() - rest.len() + at].matches('\n').count();
        let (name, after) = rest[at + 2..]
            .split_once('}')
            .ok_or_else(|| format!("line {line}: \"${{\" without \"}}\""))?;
        let value = variables
            .get(name)
            .ok_or_else(|| format!("line {line}: ${{{name}}} is not set"))?;
        if depth == 0 {
            return Err(format!("line {line}: ${{{name}}} refers to itself"));
        }
        *left = left
            .checked_sub(1)
            .ok_or_else(|| format!("line {line}: more than {REFERENCES} variables"))?;
        let value = expand_at(value, variables, depth - 1, left)?;
        // Values stand inside TOML strings of any kind.
        if value.contains(['"', '\'', '\\']) || value.contains(char::is_control) {
            return Err(format!(
                "line {line}: ${{{name}}} has quotes in it: {value:?}"
            ));
        }
        out.push_str(&value);
        if out.len() > LENGTH {
            return Err(format!("line {line}: longer than {LENGTH} octets"));
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        [
            ("A", "::1"),
            ("B", "[${A}]"),
            ("LOOP", "${LOOP}"),
            ("Q", "a\"b"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn names_are_replaced_and_escapes_kept() {
        let text = "http://${B}/${A} $A $${A}";
        assert_eq!(
            expand(text, &variables()).unwrap(),
            "http://[::1]/::1 $A ${A}"
        );
    }

    #[test]
    fn what_cannot_be_replaced_is_named_with_its_line() {
        for (text, expected) in [
            ("\n${C}", "line 2: ${C} is not set"),
            ("${A", "without"),
            ("${LOOP}", "refers to itself"),
            ("${Q}", "quotes"),
        ] {
            let error = expand(text, &variables()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn values_that_multiply_are_refused() {
        for (leaf, expected) in [("", "more than"), ("0123456789", "longer than")] {
            let mut variables: Variables = [("V0".to_owned(), leaf.repeat(100))].into();
            for number in 1..7 {
                let value = format!("${{V{}}}", number - 1).repeat(100);
                variables.insert(format!("V{number}"), value);
            }
            let error = expand("${V6}", &variables).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
