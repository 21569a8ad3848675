//! What is NULL or unknown gets no further, and every failure has its reason.

use super::*;
use std::ffi::CStr;

fn error_of(call: impl FnOnce(*mut c_char, usize)) -> String {
    let mut buffer = [1 as c_char; 512];
    call(buffer.as_mut_ptr(), buffer.len());
    // SAFETY: ended with NUL, or the test fails under miri.
    unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_str().unwrap().to_owned()
}

#[test]
fn null_is_an_error_everywhere_and_never_touched() {
    let invalid = tel_error::TEL_ERR_INVALID as c_int;
    let none = ptr::null_mut::<tel_producer>();
    let line = c"c1 x".as_ptr();
    // SAFETY: NULL where allowed, valid texts elsewhere.
    unsafe {
        assert!(tel_producer_new(ptr::null(), ptr::null(), ptr::null_mut(), 0).is_null());
        assert_eq!(tel_config_check(ptr::null(), ptr::null_mut(), 0), invalid);
        assert_eq!(tel_submit(none, line, 4), invalid);
        assert_eq!(tel_submit_for(none, line, 2, line, 4), invalid);
        assert_eq!(tel_wants(none, line, 2), 0);
        assert_eq!(tel_reload_clients(none, ptr::null(), ptr::null_mut(), 0), invalid);
        assert_eq!(tel_set_clients(none, line, 4, ptr::null_mut(), 0), invalid);
        assert_eq!(tel_flush(none, 0), invalid);
        assert_eq!(tel_get_stats(none, ptr::null_mut(), 0), invalid);
        assert_eq!(tel_stats_json(none, ptr::null_mut(), 0), 0);
        assert_eq!(tel_producer_close(none, 0), invalid);
        tel_producer_free(none);
    }
}

#[test]
fn the_reason_is_always_a_text_that_ends() {
    // SAFETY: valid pointers and sizes.
    unsafe {
        let whole = error_of(|buffer, size| {
            tel_config_check(c"{\"quue\": 1}".as_ptr(), buffer, size);
        });
        assert!(whole.contains("quue"), "{whole}");
        for size in 1..whole.len() {
            let cut = error_of(|buffer, _| {
                tel_config_check(c"{\"quue\": 1}".as_ptr(), buffer, size);
            });
            assert_eq!(cut, whole[..size - 1]);
        }
        let mut one: c_char = 7;
        tel_config_check(c"{}".as_ptr(), &mut one, 1);
        assert_eq!(one, 0);
        let not_text = error_of(|buffer, size| {
            tel_config_check(c"\xff".as_ptr(), buffer, size);
        });
        assert!(not_text.contains("UTF-8"), "{not_text}");
    }
}

#[test]
fn every_code_has_its_number_and_its_text() {
    for number in 0..=10 {
        let code = tel_error::from_number(number).unwrap();
        assert_eq!(code as i32, number);
        // SAFETY: a static text.
        assert!(!unsafe { CStr::from_ptr(tel_strerror(number)) }.to_bytes().is_empty());
    }
    assert!(tel_error::from_number(11).is_none() && tel_error::from_number(-1).is_none());
    // SAFETY: static texts.
    unsafe {
        assert!(CStr::from_ptr(tel_strerror(99)).to_str().unwrap().contains("unknown"));
        assert_eq!(CStr::from_ptr(tel_version()).to_str(), Ok(env!("CARGO_PKG_VERSION")));
    }
    assert_eq!(tel_abi_version(), TEL_ABI_VERSION);
}
