//! What a configuration lacks for what it wants, for tools that say so.

use aarp_wire::probe::Method;

use crate::settings::{Methods, Settings};

/// Whether `unreach` can be used for any address, by the configuration. For one
/// address, [`crate::policy::permitted`] says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreach {
    /// No one names it among the methods.
    NotNamed,
    /// It is among the methods, but there are no `prefixes`.
    NoPrefixes,
    /// It is among the methods, but nothing says what U may be.
    NoTrusted,
    /// It can be used.
    Usable,
}

/// Every method that the general list or a `[[prefix]]` names.
#[must_use]
pub fn named(settings: &Settings) -> Methods {
    let rules = settings.rules.rules.iter().flatten();
    let lists = rules.filter_map(|rule| rule.methods);
    [Method::Echo, Method::Unreach]
        .into_iter()
        .filter(|method| {
            settings.methods.contains(*method) || lists.clone().any(|list| list.contains(*method))
        })
        .fold(Methods::NONE, Methods::with)
}

/// Whether `unreach` can be used.
#[must_use]
pub fn unreach(settings: &Settings) -> Unreach {
    let mut rules = settings.rules.rules.iter().flatten();
    if !named(settings).contains(Method::Unreach) {
        Unreach::NotNamed
    } else if settings.prefixes.is_empty() {
        Unreach::NoPrefixes
    } else if settings.trusted.is_set() || rules.any(|rule| rule.trusted.is_some()) {
        Unreach::Usable
    } else {
        Unreach::NoTrusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{TOKENS, end_token, read_document};
    use crate::settings::Layer;

    #[test]
    fn what_unreach_lacks() {
        let of = |text: &str| {
            let mut settings = Settings::DEFAULT;
            let tokens = &mut [end_token(); TOKENS];
            read_document(&mut settings, Layer::System, text, tokens).unwrap();
            (unreach(&settings), named(&settings).contains(Method::Echo))
        };
        let rule = "[[prefix]]\nprefix = \"2001:db8:a::/48\"\n";
        let prefixes = "prefixes = [\"2001:db8:a::/48\"]\n";
        let only = "[resolve]\nmethods = [\"unreach\"]\n";
        assert_eq!(of(""), (Unreach::NotNamed, true));
        assert_eq!(of(only), (Unreach::NoPrefixes, false));
        assert_eq!(
            of(&format!("{only}{prefixes}")),
            (Unreach::NoTrusted, false)
        );
        assert_eq!(
            of(&format!("{only}{prefixes}trusted = [\"2001:db8::/32\"]\n")),
            (Unreach::Usable, false)
        );
        assert_eq!(
            of(&format!(
                "[resolve]\n{prefixes}{rule}methods = [\"unreach\"]\n"
            )),
            (Unreach::NoTrusted, true)
        );
        assert_eq!(
            of(&format!(
                "{only}{prefixes}{rule}trusted = [\"2001:db8::/32\"]\n"
            )),
            (Unreach::Usable, false)
        );
    }
}
