#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| aarp_fuzz_bodies::table(data));
