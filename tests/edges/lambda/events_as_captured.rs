//! Events compared with captures of AWS: the live captures of 2026 that `hotsock/voker` publishes,
//! and the test data of `lambda_http`. Responses are compared with what LocalStack's tests expect
//! of function URLs. The values here are our own; which member has which form is theirs.
use aws_lambda_events::{
    alb::AlbTargetGroupRequest, lambda_function_urls::LambdaFunctionUrlRequest,
};
use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use lambda_runtime::MetadataPrelude;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_lb::lambda::{
    AlbEvent, EventFormat, HttpFunction, InvalidResponse, Invocation, InvokedStream,
    UnsupportedRequest, UrlEvent,
};

const TARGET_GROUP: &str =
    "arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/probe/4efa1ab384b3474d";
const DOMAIN: &str = "2cxn22odiwguak4f.lambda-url.us-west-2.on.aws";
const BODY: &str = "{\"unicode\":\"\u{3bb}\"}";

fn encode(format: &impl EventFormat, request: Request<&str>) -> Result<Bytes, UnsupportedRequest> {
    let (head, body) = request.into_parts();
    format.encode(&head, body.as_bytes())
}

fn event(format: &impl EventFormat, request: Request<&str>) -> Value {
    serde_json::from_slice(&encode(format, request).unwrap()).unwrap()
}

fn url() -> UrlEvent {
    UrlEvent::new(DOMAIN)
}

fn captured() -> Request<&'static str> {
    let query = "repeat=one&repeat=two&redirect=https%3A%2F%2Fexample.com%2Fa&plus=a+b&\
        encodedPlus=a%2Bb&k%5B%5D=1&empty=";
    Request::post(format!("/capture/space%20value?{query}"))
        .header("host", DOMAIN)
        .header("accept", "*/*")
        .header("content-length", BODY.len())
        .header("content-type", "application/json")
        .header("cookie", "session=abc123; theme=dark")
        .header("user-agent", "curl/8.7.1")
        .header("x-amzn-trace-id", "Root=1-6a5145aa-290a323a5de9a2e0636377d4")
        .header("x-forwarded-for", "198.51.100.18")
        .header("x-forwarded-port", "443")
        .header("x-forwarded-proto", "https")
        .header("x-probe", "first")
        .header("x-probe", "second")
        .body(BODY)
        .unwrap()
}

#[test]
fn a_function_urls_event_has_the_members_of_the_capture() {
    let mut event = event(&url(), captured());
    let parsed: LambdaFunctionUrlRequest = serde_json::from_value(event.clone()).unwrap();
    assert_eq!(parsed.raw_path.as_deref(), Some("/capture/space%20value"));
    assert_eq!(parsed.query_string_parameters["encodedPlus"], "a+b");
    assert_eq!(parsed.headers["x-probe"], "first,second");
    assert_eq!(parsed.cookies.unwrap(), ["session=abc123", "theme=dark"]);
    assert_eq!(parsed.request_context.http.source_ip.as_deref(), Some("198.51.100.18"));
    assert_eq!(parsed.request_context.domain_prefix.as_deref(), Some("2cxn22odiwguak4f"));
    assert_eq!(parsed.body.as_deref(), Some(BODY));
    let context = event["requestContext"].as_object_mut().unwrap();
    for volatile in ["requestId", "time", "timeEpoch"] {
        assert!(context.remove(volatile).is_some(), "{volatile}");
    }
    let expected = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/capture/space%20value",
        "rawQueryString": "repeat=one&repeat=two&redirect=https%3A%2F%2Fexample.com%2Fa&plus=a+b&\
            encodedPlus=a%2Bb&k%5B%5D=1&empty=",
        "cookies": ["session=abc123", "theme=dark"],
        "headers": {
            "accept": "*/*",
            "content-length": BODY.len().to_string(),
            "content-type": "application/json",
            "cookie": "session=abc123; theme=dark",
            "host": DOMAIN,
            "user-agent": "curl/8.7.1",
            "x-amzn-trace-id": "Root=1-6a5145aa-290a323a5de9a2e0636377d4",
            "x-forwarded-for": "198.51.100.18",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            "x-probe": "first,second",
        },
        "queryStringParameters": {
            "empty": "",
            "encodedPlus": "a+b",
            "k[]": "1",
            "plus": "a b",
            "redirect": "https://example.com/a",
            "repeat": "one,two",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "2cxn22odiwguak4f",
            "domainName": DOMAIN,
            "domainPrefix": "2cxn22odiwguak4f",
            "http": {
                "method": "POST",
                "path": "/capture/space value",
                "protocol": "HTTP/1.1",
                "sourceIp": "198.51.100.18",
                "userAgent": "curl/8.7.1",
            },
            "routeKey": "$default",
            "stage": "$default",
        },
        "body": BODY,
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);
}

#[test]
fn a_load_balancers_event_has_the_members_of_the_capture() {
    let event = event(&AlbEvent::new(TARGET_GROUP).multi_value(), captured());
    let parsed: AlbTargetGroupRequest = serde_json::from_value(event.clone()).unwrap();
    assert_eq!(parsed.request_context.elb.target_group_arn.as_deref(), Some(TARGET_GROUP));
    let probes: Vec<_> = parsed.multi_value_headers.get_all("x-probe").iter().collect();
    assert_eq!(probes, ["first", "second"]);
    let expected = json!({
        "requestContext": { "elb": { "targetGroupArn": TARGET_GROUP } },
        "httpMethod": "POST",
        "path": "/capture/space%20value",
        "multiValueQueryStringParameters": {
            "empty": [""],
            "encodedPlus": ["a%2Bb"],
            "k%5B%5D": ["1"],
            "plus": ["a+b"],
            "redirect": ["https%3A%2F%2Fexample.com%2Fa"],
            "repeat": ["one", "two"],
        },
        "multiValueHeaders": {
            "accept": ["*/*"],
            "content-length": [BODY.len().to_string()],
            "content-type": ["application/json"],
            "cookie": ["session=abc123; theme=dark"],
            "host": [DOMAIN],
            "user-agent": ["curl/8.7.1"],
            "x-amzn-trace-id": ["Root=1-6a5145aa-290a323a5de9a2e0636377d4"],
            "x-forwarded-for": ["198.51.100.18"],
            "x-forwarded-port": ["443"],
            "x-forwarded-proto": ["https"],
            "x-probe": ["first", "second"],
        },
        "body": BODY,
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);
}

#[test]
fn paths_stay_as_received_and_only_the_context_has_them_decoded() {
    for (sent, decoded) in [
        ("/capture/plain", "/capture/plain"),
        ("/a+b", "/a+b"),
        ("/question%3Fvalue", "/question?value"),
        ("/percent%25done", "/percent%done"),
        ("/slash%2Fvalue", "/slash/value"),
        ("/unicode-%CE%BB-%E4%B8%96", "/unicode-\u{3bb}-\u{4e16}"),
        ("/literal%252Fvalue", "/literal%2Fvalue"),
        ("/%ff%", "/\u{fffd}%"),
        ("*", "*"),
    ] {
        let request = || Request::options(sent).body("").unwrap();
        let from_url = event(&url(), request());
        assert_eq!((&from_url["rawPath"], &from_url["rawQueryString"]), (&sent.into(), &"".into()));
        assert_eq!(from_url["requestContext"]["http"]["path"], decoded);
        assert_eq!(event(&AlbEvent::new(""), request())["path"], sent);
    }
}

#[test]
fn parameters_are_decoded_for_function_urls_only() {
    for (query, decoded, encoded) in [
        ("a=%2Bb", json!({ "a": "+b" }), json!({ "a": "%2Bb" })),
        ("a+b=c+d", json!({ "a b": "c d" }), json!({ "a+b": "c+d" })),
        // The same name, written in two ways.
        ("k[]=1&k%5B%5D=2", json!({ "k[]": "1,2" }), json!({ "k[]": "1", "k%5B%5D": "2" })),
        ("a=1%2C2&a=3", json!({ "a": "1,2,3" }), json!({ "a": "3" })),
        ("a=b=c&d", json!({ "a": "b=c", "d": "" }), json!({ "a": "b=c", "d": "" })),
        ("a=1%262&=x", json!({ "a": "1&2", "": "x" }), json!({ "a": "1%262", "": "x" })),
        ("a=%zz%4", json!({ "a": "%zz%4" }), json!({ "a": "%zz%4" })),
        ("", Value::Null, json!({})),
    ] {
        let request = || Request::get(format!("/?{query}")).body("").unwrap();
        let from_url = event(&url(), request());
        assert_eq!(from_url["rawQueryString"], query);
        assert_eq!(from_url["queryStringParameters"], decoded, "{query}");
        let from_alb = event(&AlbEvent::new(""), request());
        assert_eq!(from_alb["queryStringParameters"], encoded, "{query}");
    }
}

#[test]
fn without_a_body_only_a_load_balancers_event_has_the_member() {
    let get = || Request::get("/").body("").unwrap();
    let (from_url, from_alb) = (event(&url(), get()), event(&AlbEvent::new(""), get()));
    assert_eq!((from_url.get("body"), &from_url["isBase64Encoded"]), (None, &false.into()));
    assert_eq!((&from_alb["body"], &from_alb["isBase64Encoded"]), (&"".into(), &false.into()));
    assert!(from_url.get("cookies").is_none() && from_url.get("queryStringParameters").is_none());
    // A body without a type is not text.
    let post = event(&url(), Request::post("/").body("{'key':'value'}").unwrap());
    assert_eq!(
        (&post["body"], &post["isBase64Encoded"]),
        (&"eydrZXknOid2YWx1ZSd9".into(), &true.into())
    );
}

#[test]
fn what_belongs_to_the_connection_is_not_in_an_event() {
    let mut request = Request::post("/").header("host", "shop.example");
    for (name, value) in [
        ("connection", "close, X-Secret, Host, X-Forwarded-For"),
        ("connection", "cookie, user-agent"),
        ("x-secret", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "trailers"),
        ("trailer", "x-sum"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("proxy-authorization", "Basic eDp5"),
        ("expect", "100-continue"),
        ("cookie", "a=1"),
        ("user-agent", "curl"),
        // A layer of this server has appended the address: the client cannot have it removed.
        ("x-forwarded-for", "192.0.2.7"),
        ("authorization", "Basic eDp5"),
    ] {
        request = request.header(name, value);
    }
    let request = request.body("").unwrap();
    let kept = json!({
        "host": "shop.example",
        "x-forwarded-for": "192.0.2.7",
        "authorization": "Basic eDp5",
    });
    assert_eq!(event(&AlbEvent::new(""), request.clone())["headers"], kept);
    let event = event(&url(), request);
    assert_eq!(event["headers"], kept);
    assert!(event.get("cookies").is_none());
    let http = &event["requestContext"]["http"];
    assert_eq!((&http["sourceIp"], http.get("userAgent")), (&"192.0.2.7".into(), None));
}

#[test]
fn requests_that_no_event_can_express_are_refused() {
    let refused = |request: http::request::Builder| {
        let request = request.body("").unwrap();
        let both = [encode(&url(), request.clone()), encode(&AlbEvent::new(""), request)];
        both.map(Result::err)
    };
    let tunnel = Request::connect("shop.example:443");
    assert_eq!(refused(tunnel), [Some(UnsupportedRequest::Connect); 2]);
    let two = Request::get("/").header("host", "a.example").header("host", "a.example");
    assert_eq!(refused(two), [Some(UnsupportedRequest::Host); 2]);
    for invalid in [
        "a b",
        "user@a.example",
        "a.example/",
        "a.example:b",
        "a.example:65536",
        "[::1",
        "[::1]a",
        "\u{e9}.example",
    ] {
        let request = Request::get("http://a.example/").header("host", invalid);
        assert_eq!(refused(request), [Some(UnsupportedRequest::Host); 2], "{invalid}");
    }
    for valid in ["", "a.example:", "a_b.example:0", "192.0.2.1:8080", "[2001:db8::1]:443", "[::1]"]
    {
        let request = Request::get("/").header("host", valid).body("").unwrap();
        assert_eq!(event(&url(), request)["headers"]["host"], valid);
    }
    for zone in ["[fe80::1%25eth0]:80", "[fe80::1%eth0]:80"] {
        let request = Request::get("/").header("host", zone).body("").unwrap();
        assert_eq!(event(&url(), request)["headers"]["host"], "[fe80::1]:80");
        let request = Request::get(format!("http://{zone}/")).body("").unwrap();
        assert_eq!(event(&AlbEvent::new(""), request)["headers"]["host"], "[fe80::1]:80");
    }
    for offer in ["websocket", "h2c, WebSocket"] {
        let request = Request::get("/").header("upgrade", "x").header("upgrade", offer);
        let request = request.body("").unwrap();
        let refused = encode(&AlbEvent::new(""), request);
        assert_eq!(refused.unwrap_err(), UnsupportedRequest::Upgrade);
    }
}

/// Decodes and returns status, content type and body.
fn decoded(format: &impl EventFormat, answer: &'static str) -> (u16, String, String) {
    let response = format.decode(answer.into()).unwrap();
    let kind = response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap());
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    (response.status().as_u16(), kind.to_owned(), body)
}

#[test]
fn a_function_url_serves_any_json_value() {
    for (answer, body) in [
        (r#""Hello""#, "Hello"),
        (r#""a \"b\" \n\u00e9""#, "a \"b\" \n\u{e9}"),
        (r#"{"hello":"world"}"#, r#"{"hello":"world"}"#),
        (r#"{"headers":{"x":"y"},"body":"z"}"#, r#"{"headers":{"x":"y"},"body":"z"}"#),
        (r#"["hello",3,true]"#, r#"["hello",3,true]"#),
        ("3", "3"),
        ("3.1", "3.1"),
        ("true", "true"),
        ("null", "null"),
    ] {
        let expected = (200, "application/json".to_owned(), body.to_owned());
        assert_eq!(decoded(&url(), answer), expected, "{answer}");
        let from_alb = AlbEvent::new("").decode(answer.into());
        assert_eq!(from_alb.unwrap_err(), InvalidResponse::NoStatus, "{answer}");
    }
    assert_eq!(
        decoded(&url(), r#"{"statusCode":"418","body":"tea"}"#),
        (418, "".into(), "tea".into())
    );
    for answer in ["", "Hello", r#""Hello"#, r#""\ud800""#] {
        assert!(url().decode(answer.into()).is_err(), "{answer}");
    }
}

#[test]
fn headers_with_several_values_are_kept() {
    let answer = json!({
        "statusCode": 200,
        "headers": { "vary": "a", "x": "1", "connection": "x-hop", "x-hop": "1" },
        "multiValueHeaders": { "Vary": ["b", "c"], "link": ["d", "e"], "X-Hop": ["2"] },
        "cookies": ["f=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "g=2"],
    });
    let response = url().decode(answer.to_string().into()).unwrap();
    let mut headers: Vec<_> = response
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort_unstable();
    let expected = [
        "link: d",
        "link: e",
        "set-cookie: f=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
        "set-cookie: g=2",
        "vary: b",
        "vary: c",
        "x: 1",
    ];
    assert_eq!(headers, expected);
}

/// Returns the response to a stream that a function writes, behind either event.
async fn streamed(format: impl EventFormat, prelude: &str) -> Response<Bytes> {
    let stream = [prelude, "\0\0\0\0\0\0\0\0", "body"].concat();
    let function = tower::service_fn(move |_: Invocation| {
        let pieces = stream.as_bytes().chunks(3).map(|piece| Ok(Bytes::copy_from_slice(piece)));
        let pieces = pieces.collect::<Vec<_>>();
        std::future::ready(Ok::<_, tower::BoxError>(InvokedStream::new(stream::iter(pieces))))
    });
    let request = Request::get("/").body(Full::<Bytes>::default()).unwrap();
    let (head, body) =
        HttpFunction::new(function, format).oneshot(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn a_prelude_is_read_as_lambda_runtime_writes_it_behind_either_event() {
    let mut written =
        MetadataPrelude { status_code: 206.try_into().unwrap(), ..Default::default() };
    written.headers.append("vary", "a".parse().unwrap());
    written.headers.append("vary", "b".parse().unwrap());
    written.cookies = vec!["c=1".into(), "d=2".into()];
    let written = serde_json::to_string(&written).unwrap();
    for (prelude, status, fields) in [
        (&*written, 206, &["vary: a", "vary: b", "set-cookie: c=1", "set-cookie: d=2"][..]),
        ("{}", 200, &[]),
        (r#"{"headers":{"a":"b"},"cookies":["c=1"]}"#, 200, &["a: b", "set-cookie: c=1"]),
        (r#"{"multiValueHeaders":{"a":["b","c"]}}"#, 200, &["a: b", "a: c"]),
        (r#"{"statusCode":404,"headers":{"content-length":"9"}}"#, 404, &[]),
    ] {
        let (from_url, from_alb) =
            (streamed(url(), prelude).await, streamed(AlbEvent::new(""), prelude).await);
        for response in [from_url, from_alb] {
            assert_eq!((response.status().as_u16(), &response.body()[..]), (status, &b"body"[..]));
            let headers = response.headers().iter();
            let headers =
                headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            assert_eq!(headers.collect::<Vec<_>>(), fields, "{prelude}");
        }
    }
    for invalid in ["", "null", "\"Hello\"", "[]", "{", r#"{"statusCode":99}"#, r#"{"headers":7}"#]
    {
        assert_eq!(streamed(url(), invalid).await.status(), 502, "{invalid}");
    }
}
