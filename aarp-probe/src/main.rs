//! Who answers for an anycast address?
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | pinned: a unicast address answered that a program would be moved to |
//! | 1 | no answer |
//! | 2 | cannot be pinned |
//! | 3 | the responder changed while it was watched |
//! | 4 | an answer was refused as untrusted |
//! | 5 | mixed results for several addresses |
//! | 64 | usage |
//! | 69 | there is no aarpd, or it does not answer |
//! | 70 | something of this host failed |
//! | 73 | the file of --prom-textfile could not be written |
//! | 77 | not permitted |
//! | 78 | bad configuration |
//! | 130 | ended by Ctrl-C; watch and census end with what they have, top and events with 0 |

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let libdir = option_env!("AARP_LIBDIR").filter(|folder| !folder.is_empty());
    aarp_probe::main(libdir.map(Path::new))
}
