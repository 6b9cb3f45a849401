//! By which methods this user can ask, and what the others lack.

use std::net::Ipv6Addr;

use aarp_core::readiness::{Unreach, named, unreach};
use aarp_core::settings::Settings;
use aarp_wire::probe::Method;

use super::finding::Finding;
use crate::echo::{EchoSocket, Kind};
use crate::exit;

/// Which groups may open ping sockets; the setting covers IPv6 too, and belongs to
/// the network namespace.
const PING_GROUP_RANGE: &str = "/proc/sys/net/ipv4/ping_group_range";
const CHECK: &str = "probe sockets";

/// Whether probing is permitted, and how; `a` is an address to be asked, for what is
/// to be pasted.
pub(crate) fn examine(settings: &Settings, a: Option<Ipv6Addr>) -> Finding {
    let unreach = unreach(settings);
    if !named(settings).contains(Method::Echo) {
        return match lacks(unreach) {
            None => Finding::ok(
                CHECK,
                "unreach, the only method configured, needs no permission",
            ),
            Some(lack) => set_up(
                Finding::hindrance(CHECK, exit::CANNOT_BE_PINNED, lack),
                unreach,
                a,
            ),
        };
    }
    let finding = echo(unreach);
    match (unreach, lacks(unreach)) {
        // It is proposed where it would be the way out.
        (Unreach::NotNamed, _) if finding.code == exit::NOT_PERMITTED => {
            set_up(finding, unreach, a)
        }
        (Unreach::NotNamed, _) | (_, None) => finding,
        (_, Some(lack)) => set_up(finding.also(&lack), unreach, a),
    }
}

/// What keeps `unreach` from being used.
fn lacks(unreach: Unreach) -> Option<String> {
    let lack = match unreach {
        Unreach::Usable => return None,
        Unreach::NotNamed => return Some("unreach is not among the methods".to_owned()),
        Unreach::NoPrefixes => "`prefixes` are not set",
        Unreach::NoTrusted => "`trusted` is not set",
    };
    Some(format!(
        "unreach is among the methods and is never used: {lack}"
    ))
}

/// With the way to have `unreach`.
fn set_up(finding: Finding, unreach: Unreach, a: Option<Ipv6Addr>) -> Finding {
    const RESPONDERS: &str = "PREFIX-OF-THE-RESPONDERS";
    let a = a.map_or_else(|| "PREFIX-OF-A".to_owned(), |a| format!("{a}/128"));
    let what = "say what U may be (the responders, and no router or firewall before them), for one \
                program, or for all in [resolve] of ~/.config/aarp/aarp.toml:";
    match unreach {
        Unreach::Usable => finding,
        Unreach::NoTrusted => finding.remedy(
            what,
            [
                format!("AARP_TRUSTED={RESPONDERS} aarp-run CMD"),
                format!("trusted = [\"{RESPONDERS}\"]"),
            ],
        ),
        Unreach::NoPrefixes | Unreach::NotNamed => finding.remedy(
            "or ask by unreach, which needs no permission, where you know the addresses of the \
             responders; for one program, or for all in [resolve] of ~/.config/aarp/aarp.toml:",
            [
                format!(
                    "AARP_METHODS=unreach AARP_PREFIXES={a} AARP_TRUSTED={RESPONDERS} aarp-run CMD"
                ),
                "methods = [\"unreach\"]".to_owned(),
                format!("prefixes = [\"{a}\"]"),
                format!("trusted = [\"{RESPONDERS}\"]"),
            ],
        ),
    }
}

/// What echo needs.
fn echo(unreach: Unreach) -> Finding {
    let range = std::fs::read_to_string(PING_GROUP_RANGE).map_or_else(
        |error| format!("unknown ({error})"),
        |text| {
            format!(
                "\"{}\"",
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            )
        },
    );
    let ping = EchoSocket::open(Kind::Ping, None);
    let raw = EchoSocket::open(Kind::Raw, None);
    let (what, commands) = (
        "let everybody open ping sockets, as root, in this network namespace, now and at the next \
         start:",
        [
            "sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"".to_owned(),
            "echo 'net.ipv4.ping_group_range = 0 2147483647' >/etc/sysctl.d/60-aarp.conf"
                .to_owned(),
        ],
    );
    match (ping, raw) {
        (Ok(_), raw) => {
            let raw = if raw.is_ok() { ", and raw sockets" } else { "" };
            let detail = format!("ping sockets are permitted{raw} (ping_group_range {range})");
            Finding::ok(CHECK, detail)
        }
        (Err(error), Ok(_)) => {
            let detail = format!(
                "raw sockets are permitted to this user, ping sockets are not: {error} \
                 (ping_group_range {range}); programs without CAP_NET_RAW cannot ask by echo"
            );
            Finding::note(CHECK, detail).remedy(what, commands)
        }
        (Err(ping), Err(raw)) => {
            let detail =
                format!("ping socket: {ping}; raw socket: {raw} (ping_group_range {range})");
            if unreach == Unreach::Usable {
                let detail = format!("by unreach alone, which needs no permission; {detail}");
                return Finding::note(CHECK, detail).remedy(what, commands);
            }
            Finding::hindrance(CHECK, exit::NOT_PERMITTED, detail)
                .remedy(what, commands)
                .remedy(
                    "or give one program the capability for raw sockets, as root:",
                    [
                        "setpriv --reuid USER --regid GROUP --init-groups --inh-caps +net_raw \
                      --ambient-caps +net_raw aarp-run CMD"
                            .to_owned(),
                    ],
                )
        }
    }
}
