use super::*;

fn read(octets: &[u8]) -> Result<Response, Malformed> {
    let mut response = Response::new();
    response.push(octets)?;
    Ok(response)
}

fn body_of(octets: &[u8]) -> (String, bool) {
    let response = read(octets).unwrap();
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    (body, response.is_complete())
}

#[test]
fn a_request_closes_the_connection() {
    assert_eq!(
        request("/a?b", "[2001:db8::1]:8080"),
        "GET /a?b HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\nUser-Agent: aarp-health\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn the_status_is_known_when_the_head_is_complete() {
    let mut response = Response::new();
    for piece in ["HTTP/1", ".1 20", "0 OK\r", "\nServer: x\r\n", "\r"] {
        response.push(piece.as_bytes()).unwrap();
        assert_eq!(response.status(), None, "{piece:?}");
    }
    response.push(b"\n").unwrap();
    assert_eq!(response.status(), Some(200));
    assert!(response.may_end() && !response.is_complete());
    for short in ["HTTP/1.0 404\n\n", "HTTP/1.1 404 \r\n\r\n"] {
        assert_eq!(read(short.as_bytes()).unwrap().status(), Some(404));
    }
}

#[test]
fn a_body_has_a_length_or_chunks_or_ends_with_the_connection() {
    let sized = b"HTTP/1.1 200 OK\r\nCONTENT-length: 5\r\n\r\nhello, and more";
    assert_eq!(body_of(sized), ("hello".into(), true));
    assert_eq!(body_of(&sized[..sized.len() - 12]), ("hel".into(), false));
    let open = b"HTTP/1.1 200 OK\r\n\r\nhello";
    assert_eq!(body_of(open), ("hello".into(), false));
    let chunks = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: Chunked\r\n\r\n\
                   3;ext=\"v\"\r\nhel\r\n02 \r\nlo\r\n0\r\nTrailer: t\r\n\r\n rest";
    assert_eq!(body_of(chunks), ("hello".into(), true));
    for none in ["204", "304", "101"] {
        let head = format!("HTTP/1.1 {none} x\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(body_of(head.as_bytes()), (String::new(), true));
    }
}

#[test]
fn interim_responses_are_passed_over() {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-15.2
    //= type=test
    let head =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\n\
                 HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    let response = read(head).unwrap();
    assert_eq!(
        (response.status(), response.is_complete()),
        (Some(503), true)
    );
    assert_eq!(read(&head[..60]).unwrap().status(), None);
    // Not for ever.
    let endless = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    assert_eq!(read(&endless), Err(Malformed::HeadTooLong));
}

#[test]
fn what_is_no_response_is_refused() {
    use Malformed::*;
    let ok = "HTTP/1.1 200 OK\r\n";
    let chunked = format!("{ok}Transfer-Encoding: chunked\r\n\r\n");
    for (octets, expected) in [
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), StatusLine),
        // Without waiting for the end of the line.
        ("220 ".to_owned(), StatusLine),
        ("HTTP/2 200 \r\n".to_owned(), StatusLine),
        ("HTTP/1.x 200 \r\n".to_owned(), StatusLine),
        ("HTTP/1.1 20 OK\r\n".to_owned(), StatusLine),
        ("HTTP/1.1 2000 OK\r\n".to_owned(), StatusLine),
        ("HTTP/1.1 099 OK\r\n".to_owned(), StatusLine),
        ("HTTP/1.1  200 OK\r\n".to_owned(), StatusLine),
        ("\r\n".to_owned(), StatusLine),
        (format!("{ok}no colon\r\n"), Field),
        (format!("{ok}: no name\r\n"), Field),
        (format!("{ok}Space : x\r\n"), Field),
        (format!("{ok}Content-Length: -1\r\n"), ContentLength),
        (format!("{ok}Content-Length: \r\n"), ContentLength),
        (format!("{ok}Content-Length: 1, 1\r\n"), ContentLength),
        (
            format!("{ok}Content-Length: 18446744073709551616\r\n"),
            ContentLength,
        ),
        (
            format!("{ok}Content-Length: 1\r\nContent-Length: 2\r\n"),
            ContentLength,
        ),
        (
            format!("{ok}Transfer-Encoding: gzip, chunked\r\n"),
            TransferCoding,
        ),
        (
            format!("{ok}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            TransferCoding,
        ),
        (format!("{chunked}\r\n"), Chunk),
        (format!("{chunked}-1\r\n"), Chunk),
        (format!("{chunked}0x3\r\n"), Chunk),
        (format!("{chunked}3\r\nhello\r\n"), Chunk),
        (format!("{chunked}10000000000000000\r\n"), Chunk),
        (
            format!("{chunked}3{}\r\n", " ".repeat(CHUNK_LINE_MAX)),
            Chunk,
        ),
        (
            format!("{ok}{}", "A: b\r\n".repeat(HEAD_MAX / 6)),
            HeadTooLong,
        ),
        (format!("{ok}A: {}", "b".repeat(HEAD_MAX)), HeadTooLong),
    ] {
        assert_eq!(read(octets.as_bytes()), Err(expected), "{octets:?}");
    }
    let folded = format!("{ok}A: b\r\n folded\r\nContent-Length: 0\r\n\r\n");
    assert!(read(folded.as_bytes()).unwrap().is_complete());
}

#[test]
fn no_more_of_a_body_is_kept_than_there_is_room_for() {
    let mut octets =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX).into_bytes();
    octets.extend(vec![b'x'; BODY_MAX]);
    let mut response = read(&octets).unwrap();
    assert!(!response.is_complete() && !response.is_cut());
    response.push(b"y").unwrap();
    assert!(response.is_complete() && response.is_cut());
    assert_eq!(response.body().len(), BODY_MAX);
    assert!(!response.body().contains(&b'y'));
}
