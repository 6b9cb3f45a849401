//! The calls that start programs: sockets go on in them.

use core::arch::naked_asm;
use core::ffi::{c_char, c_int};
use core::mem::transmute;

use libc::{FILE, pid_t, posix_spawn_file_actions_t, posix_spawnattr_t};

use super::behind;
use crate::passed;
use crate::symbols::Symbol;

/// Words of a program, and of its environment.
type Words = *const *const c_char;

/// execve(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execve(path: *const c_char, words: Words, environment: Words) -> c_int {
    let real = behind!(c"execve", fn(*const c_char, Words, Words) -> c_int);
    passed::before_exec();
    // SAFETY: the program's own arguments.
    unsafe { real(path, words, environment) }
}

/// execveat(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execveat(
    folder: c_int,
    path: *const c_char,
    words: Words,
    environment: Words,
    flags: c_int,
) -> c_int {
    let real = behind!(
        c"execveat",
        fn(c_int, *const c_char, Words, Words, c_int) -> c_int
    );
    passed::before_exec();
    // SAFETY: the program's own arguments.
    unsafe { real(folder, path, words, environment, flags) }
}

/// fexecve(3)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fexecve(fd: c_int, words: Words, environment: Words) -> c_int {
    let real = behind!(c"fexecve", fn(c_int, Words, Words) -> c_int);
    passed::before_exec();
    // SAFETY: the program's own arguments.
    unsafe { real(fd, words, environment) }
}

/// execv(3)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execv(path: *const c_char, words: Words) -> c_int {
    let real = behind!(c"execv", fn(*const c_char, Words) -> c_int);
    passed::before_exec();
    // SAFETY: the program's own arguments.
    unsafe { real(path, words) }
}

/// execvp(3)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execvp(file: *const c_char, words: Words) -> c_int {
    let real = behind!(c"execvp", fn(*const c_char, Words) -> c_int);
    passed::before_exec();
    // SAFETY: the program's own arguments.
    unsafe { real(file, words) }
}

/// execvpe(3)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn execvpe(file: *const c_char, words: Words, environment: Words) -> c_int {
    let real = behind!(c"execvpe", fn(*const c_char, Words, Words) -> c_int);
    passed::before_exec();
    // SAFETY: the program's own arguments.
    unsafe { real(file, words, environment) }
}

/// The words of these are arguments without end, which nobody but the function behind can
/// read: those in registers are laid aside for as long as ours takes, and what lies on the
/// stack stays where it is.
macro_rules! with_words_as_arguments {
    ($name:ident, $text:literal, $before:ident) => {
        /// What is done before, and the function behind.
        extern "C" fn $before() -> usize {
            #[unsafe(link_section = "aarp_symbols")]
            static SYMBOL: Symbol = Symbol::new($text);
            passed::before_exec();
            SYMBOL.address()
        }

        /// See exec(3).
        ///
        /// # Safety
        /// As for the function of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        #[cfg(target_arch = "x86_64")]
        pub unsafe extern "C" fn $name() -> c_int {
            // Eight words with the address to return to: the stack is aligned as it
            // has to be for a call. `rax` tells of arguments in vector registers.
            naked_asm!(
                ".cfi_startproc",
                "endbr64",
                "push rdi",
                ".cfi_adjust_cfa_offset 8",
                "push rsi",
                ".cfi_adjust_cfa_offset 8",
                "push rdx",
                ".cfi_adjust_cfa_offset 8",
                "push rcx",
                ".cfi_adjust_cfa_offset 8",
                "push r8",
                ".cfi_adjust_cfa_offset 8",
                "push r9",
                ".cfi_adjust_cfa_offset 8",
                "push rax",
                ".cfi_adjust_cfa_offset 8",
                "call {before}",
                "mov r11, rax",
                "pop rax",
                ".cfi_adjust_cfa_offset -8",
                "pop r9",
                ".cfi_adjust_cfa_offset -8",
                "pop r8",
                ".cfi_adjust_cfa_offset -8",
                "pop rcx",
                ".cfi_adjust_cfa_offset -8",
                "pop rdx",
                ".cfi_adjust_cfa_offset -8",
                "pop rsi",
                ".cfi_adjust_cfa_offset -8",
                "pop rdi",
                ".cfi_adjust_cfa_offset -8",
                "jmp r11",
                ".cfi_endproc",
                before = sym $before,
            )
        }

        /// See exec(3).
        ///
        /// # Safety
        /// As for the function of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        #[cfg(target_arch = "aarch64")]
        pub unsafe extern "C" fn $name() -> c_int {
            naked_asm!(
                ".cfi_startproc",
                "hint 34", // bti c
                "stp x29, x30, [sp, -80]!",
                ".cfi_def_cfa_offset 80",
                ".cfi_offset x29, -80",
                ".cfi_offset x30, -72",
                "mov x29, sp",
                "stp x0, x1, [sp, 16]",
                "stp x2, x3, [sp, 32]",
                "stp x4, x5, [sp, 48]",
                "stp x6, x7, [sp, 64]",
                "bl {before}",
                "mov x16, x0",
                "ldp x0, x1, [sp, 16]",
                "ldp x2, x3, [sp, 32]",
                "ldp x4, x5, [sp, 48]",
                "ldp x6, x7, [sp, 64]",
                "ldp x29, x30, [sp], 80",
                ".cfi_def_cfa_offset 0",
                ".cfi_restore x29",
                ".cfi_restore x30",
                "br x16",
                ".cfi_endproc",
                before = sym $before,
            )
        }
    };
}

with_words_as_arguments!(execl, c"execl", before_execl);
with_words_as_arguments!(execlp, c"execlp", before_execlp);
with_words_as_arguments!(execle, c"execle", before_execle);

/// posix_spawn(3), which may give the program descriptors by other numbers.
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn(
    child: *mut pid_t,
    path: *const c_char,
    actions: *const posix_spawn_file_actions_t,
    attributes: *const posix_spawnattr_t,
    words: Words,
    environment: Words,
) -> c_int {
    let real = behind!(
        c"posix_spawn",
        fn(
            *mut pid_t,
            *const c_char,
            *const posix_spawn_file_actions_t,
            *const posix_spawnattr_t,
            Words,
            Words,
        ) -> c_int
    );
    passed::before_spawn();
    // SAFETY: the program's own arguments.
    unsafe { real(child, path, actions, attributes, words, environment) }
}

/// posix_spawnp(3); as for [`posix_spawn`].
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawnp(
    child: *mut pid_t,
    file: *const c_char,
    actions: *const posix_spawn_file_actions_t,
    attributes: *const posix_spawnattr_t,
    words: Words,
    environment: Words,
) -> c_int {
    let real = behind!(
        c"posix_spawnp",
        fn(
            *mut pid_t,
            *const c_char,
            *const posix_spawn_file_actions_t,
            *const posix_spawnattr_t,
            Words,
            Words,
        ) -> c_int
    );
    passed::before_spawn();
    // SAFETY: the program's own arguments.
    unsafe { real(child, file, actions, attributes, words, environment) }
}

/// system(3)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn system(line: *const c_char) -> c_int {
    let real = behind!(c"system", fn(*const c_char) -> c_int);
    passed::before_spawn();
    // SAFETY: the program's own argument.
    unsafe { real(line) }
}

/// popen(3)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn popen(line: *const c_char, kind: *const c_char) -> *mut FILE {
    let real = behind!(c"popen", fn(*const c_char, *const c_char) -> *mut FILE);
    passed::before_spawn();
    // SAFETY: the program's own arguments.
    unsafe { real(line, kind) }
}
