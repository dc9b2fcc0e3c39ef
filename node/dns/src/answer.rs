//! From a query's bytes to a decision: answer now, or forward. Pure.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::zone::{Records, Zone};

/// Seconds a client may keep an answer, positive or negative: endpoints change fast.
pub const TTL_S: u32 = 5;
/// Answers over UDP are at most this large, whatever the client offers (avoids fragments, DNS flag day 2020).
pub const MAX_UDP_BYTES: u16 = 1232;
/// Records in one answer; a larger set is cut and the answer is marked truncated.
pub const MAX_RECORDS: usize = 1000;
/// Aliases followed inside the cluster.
const MAX_ALIASES: usize = 8;

/// The carrier of a query: it bounds the answer's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    Udp,
    Tcp,
}

/// What to do with a query.
#[derive(Debug)]
pub enum Outcome {
    /// Send these bytes.
    Reply(Vec<u8>),
    /// Not ours: pass the query to an upstream server as it is.
    Forward,
    /// The start of the answer is ours (an ExternalName's alias), the rest is elsewhere: ask upstream for the query,
    /// then send [`Alias::complete`].
    Alias(Box<Alias>),
    /// Not a query (a reply, or garbage without a header): send nothing.
    Ignore,
}

/// An answer that lacks the addresses behind an outside name.
#[derive(Debug)]
pub struct Alias {
    reply: Message,
    question: Message,
    limit: u16,
}

impl Alias {
    /// The query to send upstream.
    pub fn question(&self) -> Vec<u8> {
        self.question.to_vec().unwrap_or_default()
    }

    /// The final answer: ours, and the records of the upstream's reply if there was a usable one.
    pub fn complete(mut self, upstream: Option<&[u8]>) -> Vec<u8> {
        match upstream.and_then(|bytes| Message::from_vec(bytes).ok()) {
            Some(found) => self.reply.answers.extend(found.answers),
            None => self.reply.metadata.response_code = ResponseCode::ServFail,
        }
        encode(self.reply, self.limit)
    }
}

/// Decides on the bytes of one query.
pub fn answer(zone: &Zone, bytes: &[u8], carrier: Carrier) -> Outcome {
    let Some(id) = bytes.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)) else {
        return Outcome::Ignore;
    };
    let Ok(query) = Message::from_vec(bytes) else {
        return Outcome::Reply(refuse(id, ResponseCode::FormErr));
    };
    if query.metadata.message_type != MessageType::Query {
        return Outcome::Ignore;
    }
    if query.metadata.op_code != OpCode::Query {
        return Outcome::Reply(refuse(id, ResponseCode::NotImp));
    }
    let [question] = query.queries.as_slice() else {
        return Outcome::Reply(refuse(id, ResponseCode::FormErr));
    };
    let name = text(question.name());
    let found = zone.find(&name);
    if question.query_class() != DNSClass::IN || (found.is_none() && !zone.owns(&name)) {
        return Outcome::Forward;
    }
    let limit = match carrier {
        Carrier::Udp => query.edns.as_ref().map_or(512, Edns::max_payload).clamp(512, MAX_UDP_BYTES),
        Carrier::Tcp => u16::MAX,
    };
    let mut reply = Message::response(id, OpCode::Query);
    reply.metadata.authoritative = true;
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.add_query(question.clone());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_BYTES);
        reply.set_edns(edns);
    }
    match fill(zone, &mut reply, question, &name, found) {
        None => Outcome::Reply(encode(reply, limit)),
        Some(outside) => {
            let mut ask = Message::new(id, MessageType::Query, OpCode::Query);
            ask.metadata.recursion_desired = true;
            ask.add_query(Query::query(outside, question.query_type()));
            Outcome::Alias(Box::new(Alias { reply, question: ask, limit }))
        }
    }
}

/// The reply that says that no upstream server answered.
pub fn failure(query: &[u8]) -> Vec<u8> {
    let id = query.first_chunk::<2>().map_or(0, |id| u16::from_be_bytes(*id));
    match Message::from_vec(query) {
        Ok(asked) => {
            let mut reply = Message::error_msg(id, OpCode::Query, ResponseCode::ServFail);
            reply.metadata.recursion_desired = asked.metadata.recursion_desired;
            reply.metadata.recursion_available = true;
            reply.add_queries(asked.queries);
            encode(reply, 512)
        }
        Err(_) => refuse(id, ResponseCode::FormErr),
    }
}

/// Puts the records into the reply; returns the outside name that an alias leads to, if one does.
fn fill(zone: &Zone, reply: &mut Message, question: &Query, name: &str, found: Option<Records>) -> Option<Name> {
    let kind = question.query_type();
    let mut owner = question.name().clone();
    let Some(mut records) = found else {
        if name.strip_prefix("dns-version.") == Some(zone.domain()) {
            if matches!(kind, RecordType::TXT | RecordType::ANY) {
                let version = RData::TXT(TXT::new(vec!["1.1.0".to_owned()]));
                reply.add_answer(Record::from_rdata(owner, TTL_S, version));
            }
        } else {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.add_authority(start_of_authority(zone));
        }
        return None;
    };
    for _ in 0..MAX_ALIASES {
        let Some(alias) = records.alias.take() else { break };
        let Some(target) = fqdn(&alias) else { break };
        reply.add_answer(Record::from_rdata(owner, TTL_S, RData::CNAME(CNAME(target.clone()))));
        if kind == RecordType::CNAME {
            return None;
        }
        match zone.find(&alias) {
            Some(next) => records = next,
            None if zone.owns(&alias) => return None,
            None => return Some(target),
        }
        owner = target;
    }
    add_records(zone, reply, kind, &owner, &records);
    if reply.answers.is_empty() {
        reply.add_authority(start_of_authority(zone));
    }
    None
}

fn add_records(zone: &Zone, reply: &mut Message, kind: RecordType, owner: &Name, records: &Records) {
    let any = kind == RecordType::ANY;
    let mut data = Vec::new();
    for address in &records.addresses {
        match address {
            IpAddr::V4(v4) if any || kind == RecordType::A => data.push(RData::A(A(*v4))),
            IpAddr::V6(v6) if any || kind == RecordType::AAAA => data.push(RData::AAAA(AAAA(*v6))),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }
    if any || kind == RecordType::PTR {
        data.extend(records.pointers.iter().filter_map(|name| fqdn(name)).map(|name| RData::PTR(PTR(name))));
    }
    if any || kind == RecordType::SRV {
        for target in &records.targets {
            let Some(name) = fqdn(&target.name) else { continue };
            for address in zone.find(&target.name).unwrap_or_default().addresses.iter().take(MAX_RECORDS) {
                let address = match address {
                    IpAddr::V4(v4) => RData::A(A(*v4)),
                    IpAddr::V6(v6) => RData::AAAA(AAAA(*v6)),
                };
                reply.add_additional(Record::from_rdata(name.clone(), TTL_S, address));
            }
            data.push(RData::SRV(SRV::new(0, 100, target.port, name)));
        }
    }
    reply.metadata.truncation |= data.len() > MAX_RECORDS;
    reply.add_answers(data.into_iter().take(MAX_RECORDS).map(|data| Record::from_rdata(owner.clone(), TTL_S, data)));
}

/// The negative answer's authority (RFC 2308 section 3).
fn start_of_authority(zone: &Zone) -> Record {
    let apex = fqdn(zone.domain()).unwrap_or_else(Name::root);
    let server = fqdn(&format!("ns.dns.{}", zone.domain())).unwrap_or_else(Name::root);
    let contact = fqdn(&format!("hostmaster.{}", zone.domain())).unwrap_or_else(Name::root);
    Record::from_rdata(apex, TTL_S, RData::SOA(SOA::new(server, contact, 1, 7200, 1800, 86_400, TTL_S)))
}

fn encode(mut reply: Message, limit: u16) -> Vec<u8> {
    let fits = |message: &Message| message.to_vec().ok().filter(|bytes| bytes.len() <= usize::from(limit));
    if let Some(bytes) = fits(&reply) {
        return bytes;
    }
    reply.additionals.clear();
    fits(&reply).or_else(|| reply.truncate().to_vec().ok()).unwrap_or_default()
}

fn refuse(id: u16, code: ResponseCode) -> Vec<u8> {
    Message::error_msg(id, OpCode::Query, code).to_vec().unwrap_or_default()
}

fn text(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

fn fqdn(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}
