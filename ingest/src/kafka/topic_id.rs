//! Which log a topic name stands for: cluster id and topic id. rdkafka does not wrap the call, so this file alone speaks to librdkafka itself.
#![expect(
    unsafe_code,
    reason = "librdkafka's DescribeTopics has no safe wrapper in rdkafka; every pointer is owned and destroyed here"
)]

use std::ffi::CString;
use std::ptr;

use domain::position::LogIdentity;
use domain::{Error, ErrorKind, Result};
use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};

use super::ASK_TIMEOUT;

/// The log that `topic` stands for now; `None` when the topic does not exist. Blocks up to the time-out.
///
/// # Errors
/// When the cluster does not answer.
pub fn log_identity<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    brokers: &str,
) -> Result<Option<LogIdentity>> {
    let silent = |what: &str| {
        Error::new(
            ErrorKind::Unavailable,
            format!(
                "asking for the id of {topic}: {what}; is a broker reachable at kafka.brokers = {brokers}?"
            ),
        )
    };
    let cluster_id = client.fetch_cluster_id(ASK_TIMEOUT).ok_or_else(|| silent("the cluster gave no id"))?;
    let topic_id = describe(client.native_ptr(), topic).map_err(|what| silent(&what))?;
    Ok(topic_id.map(|topic_id| LogIdentity { cluster_id, topic_id }))
}

/// Asks for the topic's description and gives its id as 32 hexadecimal digits.
fn describe(client: *mut sys::rd_kafka_t, topic: &str) -> Result<Option<String>, String> {
    let name = CString::new(topic).map_err(|_| "its name holds a zero byte".to_owned())?;
    let timeout_ms = i32::try_from(ASK_TIMEOUT.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: `client` is a live handle for the whole call. Collection, options, queue and event are created here, checked where they may be
    // null, used only while alive and destroyed once each; descriptions are borrowed from the event and not used after it.
    unsafe {
        let mut names = [name.as_ptr()];
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let options = sys::rd_kafka_AdminOptions_new(
            client,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        let queue = sys::rd_kafka_queue_new(client);
        sys::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        sys::rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, timeout_ms + 1_000);
        let answer = if event.is_null() { Err("no answer in time".to_owned()) } else { read(event) };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(topics);
        answer
    }
}

/// # Safety
/// `event` must be a live event.
unsafe fn read(event: *mut sys::rd_kafka_event_t) -> Result<Option<String>, String> {
    // SAFETY: everything read here is owned by `event`, which the caller keeps alive.
    unsafe {
        if sys::rd_kafka_event_error(event) != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            let text = std::ffi::CStr::from_ptr(sys::rd_kafka_event_error_string(event));
            return Err(text.to_string_lossy().into_owned());
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Err("an answer to another question".to_owned());
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if topics.is_null() || count == 0 {
            return Ok(None);
        }
        let error = sys::rd_kafka_TopicDescription_error(*topics);
        match sys::rd_kafka_error_code(error) {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => return Ok(None),
            _ => {
                let text = std::ffi::CStr::from_ptr(sys::rd_kafka_error_string(error));
                return Err(text.to_string_lossy().into_owned());
            }
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null() {
            return Ok(None);
        }
        let (most, least) =
            (sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id));
        Ok(((most, least) != (0, 0)).then(|| format!("{most:016x}{least:016x}")))
    }
}
