//! From a query message to what to do with it.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::TTL_SECONDS;
use crate::lookup::{Found, lookup, soa};
use crate::zone::Zone;

/// Aliases followed within the cluster.
const MAX_ALIASES: usize = 8;
/// UDP payload we offer and use at most: fits every path without fragments. DNS Flag Day 2020.
const MAX_UDP_BYTES: u16 = 1232;
/// UDP payload of clients that say nothing. RFC 1035 section 4.2.1.
const PLAIN_UDP_BYTES: u16 = 512;
/// Length of a message header.
const HEADER_BYTES: usize = 12;

/// How the query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// What to do with a query.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Send this.
    Reply(Vec<u8>),
    /// Ask an upstream server the same.
    Forward,
    /// Ask an upstream server for `target`, add its records to the reply.
    Resolve(Alias),
    /// Not a query at all: say nothing.
    Drop,
}

/// A reply that lacks the records of an external name.
#[derive(Debug)]
pub(crate) struct Alias {
    reply: Reply,
    pub(crate) target: Name,
    pub(crate) kind: RecordType,
}

/// A reply on its way.
#[derive(Debug)]
struct Reply {
    message: Message,
    limit_bytes: usize,
}

/// Decides about one query.
pub(crate) fn answer(zone: &Zone, request: &[u8], transport: Transport, turn: usize) -> Outcome {
    let Some(id) = query_id(request) else { return Outcome::Drop };
    let Ok(query) = Message::from_vec(request) else {
        let reply = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
        return Outcome::Reply(Reply { message: reply, limit_bytes: PLAIN_UDP_BYTES.into() }.encode());
    };
    let mut reply = Reply::to(&query, transport);
    if query.metadata.op_code != OpCode::Query {
        return reply.fail(ResponseCode::NotImp);
    }
    let [question] = query.queries.as_slice() else { return reply.fail(ResponseCode::FormErr) };
    if query.version() > 0 {
        return reply.fail(ResponseCode::BADVERS);
    }
    if question.query_class() != DNSClass::IN {
        return reply.fail(ResponseCode::Refused);
    }
    let mut name = question.name().clone();
    for _ in 0..=MAX_ALIASES {
        match lookup(zone, &name, question.query_type(), turn) {
            Found::Records { answers, additionals } => {
                reply.message.add_answers(answers);
                reply.message.add_additionals(additionals);
                return Outcome::Reply(reply.encode());
            }
            Found::NoData => return reply.negative(zone, ResponseCode::NoError),
            Found::NoName => return reply.negative(zone, ResponseCode::NXDomain),
            Found::NotOurs if name == *question.name() => return Outcome::Forward,
            Found::NotOurs => {
                return Outcome::Resolve(Alias { reply, target: name, kind: question.query_type() });
            }
            Found::Alias(target) => {
                let alias = Record::from_rdata(name, TTL_SECONDS, RData::CNAME(CNAME(target.clone())));
                reply.message.add_answer(alias);
                if question.query_type() == RecordType::CNAME {
                    return Outcome::Reply(reply.encode());
                }
                name = target;
            }
        }
    }
    reply.fail(ResponseCode::ServFail)
}

/// A SERVFAIL to a query that was to be forwarded.
pub(crate) fn servfail(request: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let query = Message::from_vec(request).ok()?;
    let mut reply = Reply::to(&query, transport);
    reply.message.metadata.authoritative = false;
    reply.message.metadata.response_code = ResponseCode::ServFail;
    Some(reply.encode())
}

impl Alias {
    /// The query for the target, with this message id.
    pub(crate) fn query(&self, id: u16) -> Option<Vec<u8>> {
        let mut query = Message::new(id, MessageType::Query, OpCode::Query);
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(self.target.clone(), self.kind));
        query.to_vec().ok()
    }

    /// The whole reply, with what the upstream server answered about the target, if anything.
    pub(crate) fn complete(mut self, upstream: Option<&[u8]>) -> Vec<u8> {
        match upstream.and_then(|bytes| Message::from_vec(bytes).ok()) {
            Some(found) => {
                self.reply.message.metadata.response_code = found.metadata.response_code;
                self.reply.message.add_answers(found.answers);
            }
            None => self.reply.message.metadata.response_code = ResponseCode::ServFail,
        }
        self.reply.encode()
    }
}

impl Reply {
    fn to(query: &Message, transport: Transport) -> Reply {
        let mut message = Message::response(query.metadata.id, query.metadata.op_code);
        message.metadata.authoritative = true;
        message.metadata.recursion_desired = query.metadata.recursion_desired;
        message.metadata.recursion_available = true;
        message.add_queries(query.queries.iter().cloned());
        let mut limit_bytes = usize::from(u16::MAX);
        if query.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_UDP_BYTES);
            message.set_edns(edns);
        }
        if transport == Transport::Udp {
            let offered = query.edns.as_ref().map_or(PLAIN_UDP_BYTES, Edns::max_payload);
            limit_bytes = offered.clamp(PLAIN_UDP_BYTES, MAX_UDP_BYTES).into();
        }
        Reply { message, limit_bytes }
    }

    fn fail(mut self, code: ResponseCode) -> Outcome {
        self.message.metadata.authoritative = false;
        self.message.metadata.response_code = code;
        Outcome::Reply(self.encode())
    }

    /// An empty answer or no such name: the SOA says how long that may be kept (RFC 2308).
    fn negative(mut self, zone: &Zone, code: ResponseCode) -> Outcome {
        self.message.metadata.response_code = code;
        self.message.add_authority(soa(zone));
        Outcome::Reply(self.encode())
    }

    /// The bytes; without the additional records, then without any and marked as truncated, if they would not fit.
    fn encode(mut self) -> Vec<u8> {
        if let Some(bytes) = self.fitting() {
            return bytes;
        }
        self.message.additionals.clear();
        if let Some(bytes) = self.fitting() {
            return bytes;
        }
        self.message = self.message.truncate();
        self.fitting().unwrap_or_default()
    }

    fn fitting(&self) -> Option<Vec<u8>> {
        self.message.to_vec().ok().filter(|bytes| bytes.len() <= self.limit_bytes)
    }
}

/// The id of a message that is a query.
fn query_id(request: &[u8]) -> Option<u16> {
    let header = request.get(..HEADER_BYTES)?;
    let is_response = header[2] & 0x80 != 0;
    (!is_response).then(|| u16::from_be_bytes([header[0], header[1]]))
}
