use std::{net::IpAddr, pin::Pin, sync::Mutex};

use hickory_server::{
    net::runtime::Time,
    proto::{
        op::{Edns, LowerQuery, MessageType, Metadata, OpCode, ResponseCode},
        rr::{
            DNSClass, LowerName, Name, RData, Record, RecordType,
            rdata::{A, AAAA, SOA},
        },
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};

use super::zones::{KnownHealth, Zones};
use crate::{rng::Rng, sync::lock};

/// The payload that a UDP response may have, by the recommendation of DNS flag day 2020.
const UDP_PAYLOAD: u16 = 1232;

/// Answers the queries for one name.
#[derive(Debug)]
pub(super) struct Responder {
    origin: LowerName,
    ttl: u32,
    zones: Zones,
    health: KnownHealth,
    rng: Mutex<Rng>,
}

/// What a query gets.
enum Answer {
    Addresses(Vec<IpAddr>),
    NoSuchName,
    /// The name is not of this server.
    Refused,
}

impl Responder {
    pub(super) fn new(origin: Name, ttl: u32, zones: Zones) -> Self {
        let (health, rng) = (KnownHealth::default(), Mutex::new(Rng::from_entropy()));
        Self { origin: origin.into(), ttl, zones, health, rng }
    }

    fn answer(&self, query: &LowerQuery, client: IpAddr) -> Answer {
        let name = query.name();
        if query.query_class() != DNSClass::IN || !self.origin.zone_of(name) {
            return Answer::Refused;
        }
        if *name == self.origin {
            return Answer::Addresses(self.addresses_for(client));
        }
        // `ZONE.NAME`: one label more than the name.
        let is_zone = name.num_labels() == self.origin.num_labels() + 1;
        let label = Name::from(name).iter().next().map(String::from_utf8_lossy).map(String::from);
        let zone = label
            .filter(|_| is_zone)
            .and_then(|label| self.zones.addresses_in(&label).map(<[IpAddr]>::to_vec));
        zone.map_or(Answer::NoSuchName, Answer::Addresses)
    }

    fn addresses_for(&self, client: IpAddr) -> Vec<IpAddr> {
        let healthy = self.health.of(&self.zones);
        self.zones.addresses_for(client, &healthy, &mut lock(&self.rng))
    }

    /// Returns the records of the type that the query asks for.
    fn records(&self, query: &LowerQuery, addresses: Vec<IpAddr>) -> Vec<Record> {
        let asked = query.query_type();
        let data = addresses.into_iter().filter_map(|address| match address {
            IpAddr::V4(v4) if matches!(asked, RecordType::A | RecordType::ANY) => {
                Some(RData::A(A(v4)))
            }
            IpAddr::V6(v6) if matches!(asked, RecordType::AAAA | RecordType::ANY) => {
                Some(RData::AAAA(AAAA(v6)))
            }
            _ => None,
        });
        // The name as the client has written it: some compare the case of each letter.
        let name = query.original().name();
        data.map(|data| Record::from_rdata(name.clone(), self.ttl, data)).collect()
    }

    /// The record that tells a resolver how long it may keep a negative answer (RFC 2308).
    fn soa(&self) -> Record {
        let origin = Name::from(&self.origin);
        let hour = 3600;
        let soa = SOA::new(origin.clone(), origin.clone(), 1, hour, hour, hour, self.ttl);
        Record::from_rdata(origin, self.ttl, RData::SOA(soa))
    }

    async fn respond<R: ResponseHandler>(&self, request: &Request, mut to: R) -> ResponseInfo {
        let mut head = Metadata::response_from_request(&request.metadata);
        let (mut answers, mut authority) = (Vec::new(), Vec::new());
        match request.request_info() {
            _ if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) => {
                head.response_code = ResponseCode::BADVERS;
            }
            _ if request.metadata.op_code != OpCode::Query => {
                head.response_code = ResponseCode::NotImp;
            }
            Ok(info) if info.metadata.message_type == MessageType::Query => {
                head.authoritative = true;
                match self.answer(info.query, info.src.ip()) {
                    Answer::Addresses(addresses) => answers = self.records(info.query, addresses),
                    Answer::NoSuchName => head.response_code = ResponseCode::NXDomain,
                    Answer::Refused => {
                        head.authoritative = false;
                        head.response_code = ResponseCode::Refused;
                    }
                }
                let is_origin = *info.query.name() == self.origin;
                if is_origin && info.query.query_type() == RecordType::SOA {
                    answers = vec![self.soa()];
                } else if answers.is_empty() && head.authoritative {
                    authority.push(self.soa());
                }
            }
            _ => head.response_code = ResponseCode::FormErr,
        }

        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(512, UDP_PAYLOAD));
            edns.set_version(0);
            edns
        });
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let response = builder.build(head, &answers, [], &authority, []);
        match to.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "a DNS response could not be sent");
                head.response_code = ResponseCode::ServFail;
                ResponseInfo::from(hickory_server::proto::op::Header {
                    metadata: head,
                    counts: Default::default(),
                })
            }
        }
    }
}

impl RequestHandler for Responder {
    // What `#[async_trait]` makes of the trait's method.
    fn handle_request<'server, 'request, 'future, R, T>(
        &'server self,
        request: &'request Request,
        response_handle: R,
    ) -> Pin<Box<dyn Future<Output = ResponseInfo> + Send + 'future>>
    where
        'server: 'future,
        'request: 'future,
        Self: 'future,
        R: ResponseHandler + 'future,
        T: Time + 'future,
    {
        Box::pin(self.respond(request, response_handle))
    }
}
