//! What an ELF file says about who loads it, read without trusting it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use object::elf::{
    ELFCLASS32, ELFCLASS64, EM_386, EM_AARCH64, EM_ARM, EM_LOONGARCH, EM_MIPS, EM_PPC64, EM_RISCV,
    EM_S390, EM_X86_64, ET_DYN, ET_EXEC, FileHeader32, FileHeader64, PT_DYNAMIC, PT_INTERP,
};
use object::read::elf::{FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef};
use object::{BigEndian, LittleEndian};

/// The kernel reads no longer interpreter path than this (PATH_MAX).
const INTERPRETER_MAX: u64 = 4096;

/// The four octets every ELF file begins with.
pub(crate) const MAGIC: [u8; 4] = *b"\x7fELF";

/// Word size, byte order and machine: what a process and everything loaded into
/// it must agree upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Architecture {
    /// 32 or 64.
    pub(crate) bits: u8,
    /// Most significant octet first.
    pub(crate) big_endian: bool,
    /// `e_machine`.
    pub(crate) machine: u16,
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.machine {
            EM_386 => "i386",
            EM_X86_64 => "x86-64",
            EM_ARM => "arm",
            EM_AARCH64 => "aarch64",
            EM_RISCV => "riscv",
            EM_PPC64 => "ppc64",
            EM_S390 => "s390",
            EM_MIPS => "mips",
            EM_LOONGARCH => "loongarch",
            other => return write!(f, "{}-bit machine {other}", self.bits),
        };
        let order = match (self.machine, self.big_endian) {
            (EM_PPC64 | EM_MIPS, false) => " little-endian",
            (EM_ARM | EM_AARCH64, true) => " big-endian",
            _ => "",
        };
        write!(f, "{}-bit {name}{order}", self.bits)
    }
}

/// Who maps the file into memory and resolves its symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Linkage {
    /// The program asks for this dynamic linker (PT_INTERP).
    Interpreter(PathBuf),
    /// Nobody: a static executable at a fixed address.
    Static,
    /// Position independent without PT_INTERP: a static-pie program, a shared
    /// library, or a dynamic linker itself.
    SelfContained {
        /// It has a dynamic section.
        dynamic: bool,
    },
    /// Object files, core dumps: nothing that can be started.
    NotExecutable,
}

/// The outline of an ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// What it is made for.
    pub(crate) architecture: Architecture,
    /// Who loads it.
    pub(crate) linkage: Linkage,
}

/// Why a file that begins like ELF could not be understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElfError {
    /// The headers contradict themselves or the length of the file.
    #[error("damaged ELF file: {0}")]
    Damaged(#[from] object::read::Error),
    /// An interpreter path longer than any path.
    #[error("damaged ELF file: interpreter path of {0} octets")]
    Interpreter(u64),
    /// Neither 32 nor 64 bits, or no known byte order.
    #[error("damaged ELF file: unknown class or byte order")]
    Class,
}

/// Reads the outline of `file`, touching its headers alone.
pub(crate) fn read_file(file: File) -> Result<Image, ElfError> {
    let cache = ReadCache::new(file);
    read(&cache)
}

/// Opens `path` and reads its outline.
pub(crate) fn read_path(path: &Path) -> io::Result<Result<Image, ElfError>> {
    File::open(path).map(read_file)
}

/// Reads the outline of the ELF file in `data`.
pub(crate) fn read<'data, R: ReadRef<'data>>(data: R) -> Result<Image, ElfError> {
    let ident: &[u8] = data.read_bytes_at(0, 6).map_err(|()| ElfError::Class)?;
    match (ident[4], ident[5]) {
        (ELFCLASS32, 1) => outline::<FileHeader32<LittleEndian>, R>(data, 32, false),
        (ELFCLASS32, 2) => outline::<FileHeader32<BigEndian>, R>(data, 32, true),
        (ELFCLASS64, 1) => outline::<FileHeader64<LittleEndian>, R>(data, 64, false),
        (ELFCLASS64, 2) => outline::<FileHeader64<BigEndian>, R>(data, 64, true),
        _ => Err(ElfError::Class),
    }
}

fn outline<'data, H, R>(data: R, bits: u8, big_endian: bool) -> Result<Image, ElfError>
where
    H: FileHeader,
    R: ReadRef<'data>,
{
    let header = H::parse(data)?;
    let endian = header.endian()?;
    let mut interpreter = None;
    let mut dynamic = false;
    for segment in header.program_headers(endian, data)? {
        match segment.p_type(endian) {
            PT_DYNAMIC => dynamic = true,
            PT_INTERP if interpreter.is_none() => {
                let length: u64 = segment.p_filesz(endian).into();
                if length > INTERPRETER_MAX {
                    return Err(ElfError::Interpreter(length));
                }
                interpreter = segment
                    .interpreter(endian, data)?
                    .map(|path| PathBuf::from(OsStr::from_bytes(path)));
            }
            _ => {}
        }
    }
    let linkage = match (header.e_type(endian), interpreter) {
        (ET_EXEC | ET_DYN, Some(path)) => Linkage::Interpreter(path),
        (ET_EXEC, None) => Linkage::Static,
        (ET_DYN, None) => Linkage::SelfContained { dynamic },
        _ => Linkage::NotExecutable,
    };
    Ok(Image {
        architecture: Architecture {
            bits,
            big_endian,
            machine: header.e_machine(endian),
        },
        linkage,
    })
}

/// Whether `path` is a dynamic linker of glibc, going by its file name: the ABI
/// supplements of the architectures fix these names. A link is followed, because
/// musl's compatibility layer puts itself under glibc's name.
pub(crate) fn is_glibc_loader(path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    glibc_name(path) && !file_name(&real).contains("musl")
}

fn glibc_name(path: &Path) -> bool {
    let name = file_name(path);
    ["ld-linux", "ld64.so.", "ld-lsb", "ld-2."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || name == "ld.so.1"
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Vec<u8> {
        std::fs::read("/proc/self/exe").expect("the test program itself")
    }

    #[test]
    fn this_test_is_a_dynamic_program() {
        let image = read(own().as_slice()).expect("an ELF file");
        let Linkage::Interpreter(path) = image.linkage else {
            panic!("no interpreter: {image:?}");
        };
        assert!(is_glibc_loader(&path), "{}", path.display());
        assert_eq!(image.architecture.bits as u32, usize::BITS);
        assert_eq!(image.architecture.big_endian, cfg!(target_endian = "big"));
    }

    #[test]
    fn reading_from_a_file_and_from_memory_agree() {
        let from_file = read_path(Path::new("/proc/self/exe"))
            .expect("open")
            .expect("read");
        assert_eq!(from_file, read(own().as_slice()).expect("an ELF file"));
    }

    #[test]
    fn no_truncation_panics() {
        let bytes = own();
        let whole = read(bytes.as_slice()).expect("an ELF file");
        // The headers and the interpreter path lie in the first page or two;
        // past those every cut reads the same.
        for length in 0..bytes.len().min(8192) {
            if let Ok(image) = read(&bytes[..length]) {
                assert_eq!(image.architecture, whole.architecture, "cut at {length}");
            }
        }
        assert!(read(&bytes[..63]).is_err());
    }

    #[test]
    fn no_damaged_octet_panics() {
        let bytes = &own()[..4096];
        let mut understood = 0;
        for at in 0..1024 {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[at] = value;
                understood += usize::from(read(damaged.as_slice()).is_ok());
            }
        }
        // Most octets of the first KiB do not matter to us: the loop did read.
        assert!(understood > 1000, "{understood}");
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(read(&b""[..]).is_err());
        assert!(read(&b"\x7fELF"[..]).is_err());
        assert!(read(&[0xff; 64][..]).is_err());
        let mut endless = [0u8; 128];
        endless[..6].copy_from_slice(b"\x7fELF\x02\x01");
        endless[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        endless[54..58].copy_from_slice(&[56, 0, 0xff, 0xff]);
        assert!(read(&endless[..]).is_err());
    }

    #[test]
    fn loaders_by_name() {
        for name in [
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/ld-linux-aarch64.so.1",
            "/lib/ld-linux-armhf.so.3",
            "/lib64/ld64.so.2",
            "/nix/store/x-glibc-2.40/lib/ld-linux-x86-64.so.2",
        ] {
            assert!(glibc_name(Path::new(name)), "{name}");
        }
        for name in [
            "/lib/ld-musl-x86_64.so.1",
            "/system/bin/linker64",
            "/lib/ld-uClibc.so.0",
            "/",
            "",
        ] {
            assert!(!glibc_name(Path::new(name)), "{name}");
        }
    }
}
