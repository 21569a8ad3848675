//! Settings of topics and brokers: what they are, where they come from, and incremental changes.

use super::native::{c_string, codes, elements, failure, failure_of, string, Owned};
use super::{Admin, BATCH};
use crate::error::{Error, Result};
use rdkafka::bindings as ffi;
use std::collections::HashMap;
use std::fmt;

/// Whose settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConfigOf {
    /// A topic's.
    Topic(String),
    /// A broker's, by its number.
    Broker(i32),
}

impl fmt::Display for ConfigOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigOf::Topic(name) => write!(f, "topic {name}"),
            ConfigOf::Broker(id) => write!(f, "broker {id}"),
        }
    }
}

impl ConfigOf {
    /// # Safety
    /// `into` releases it.
    unsafe fn native(
        &self,
        into: &mut Owned<ffi::rd_kafka_ConfigResource_t>,
    ) -> Result<*mut ffi::rd_kafka_ConfigResource_t> {
        let (kind, name) = match self {
            ConfigOf::Topic(name) => (ffi::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, name.clone()),
            ConfigOf::Broker(id) => (ffi::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_BROKER, id.to_string()),
        };
        let name = c_string("name", &name)?;
        // SAFETY: the text is copied.
        unsafe { into.push(ffi::rd_kafka_ConfigResource_new(kind, name.as_ptr()), &self.to_string(), &[0]) }
    }
}

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// Set on the topic itself.
    Topic,
    /// Set on the broker, or on all brokers.
    Broker,
    /// Nobody set it.
    Default,
    /// Something else.
    Other,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` if brokers do not show it.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// A change of one setting; all others stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Sets it.
    Set(String, String),
    /// Lets it be what it is for others.
    Unset(String),
}

impl Admin {
    /// The settings of these names, or all of them if there are no names. Brokers have a request each.
    ///
    /// # Errors
    /// The request's own.
    pub fn describe_configs(&self, of: &[ConfigOf], names: &[&str]) -> Result<Vec<Result<Vec<ConfigEntry>>>> {
        let mut answers = Vec::with_capacity(of.len());
        for of in batches(of) {
            let mut resources = Owned::new(ffi::rd_kafka_ConfigResource_destroy);
            for of in of {
                // SAFETY: released with `resources`; texts are copied.
                unsafe {
                    let resource = of.native(&mut resources)?;
                    for name in names {
                        let name = c_string("setting", name)?;
                        ffi::rd_kafka_ConfigResource_set_config(resource, name.as_ptr(), c"".as_ptr());
                    }
                }
            }
            let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
            // SAFETY: the array has as many objects as is told, the one call is the one named, and the answer is read while it lives.
            let mut found: HashMap<String, Result<Vec<ConfigEntry>>> = unsafe {
                let (array, count) = (resources.as_mut_ptr(), resources.len());
                let event = self
                    .client
                    .call(&ask, |client, options, queue| {
                        ffi::rd_kafka_DescribeConfigs(client, array, count, options, queue)
                    })
                    .map_err(|failure| failure.error("describing settings", "DescribeConfigs on topics and cluster"))?;
                let mut count = 0;
                let result = ffi::rd_kafka_event_DescribeConfigs_result(event.ptr());
                let resources = ffi::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
                elements(resources, count).map(|resource| read_resource(resource)).collect()
            };
            answers.extend(of.iter().map(|of| take(&mut found, of)));
        }
        Ok(answers)
    }

    /// Makes these changes, and no other.
    ///
    /// # Errors
    /// The request's own.
    pub fn alter_configs(&self, changes: &[(ConfigOf, Vec<ConfigChange>)]) -> Result<Vec<Result<()>>> {
        let of: Vec<ConfigOf> = changes.iter().map(|(of, _)| of.clone()).collect();
        let mut changes = changes.iter();
        let mut answers = Vec::with_capacity(of.len());
        for of in batches(&of) {
            let mut resources = Owned::new(ffi::rd_kafka_ConfigResource_destroy);
            for (of, changes) in changes.by_ref().take(of.len()) {
                // SAFETY: released with `resources`.
                let resource = unsafe { of.native(&mut resources)? };
                for change in changes {
                    // SAFETY: the resource lives.
                    unsafe { add(resource, of, change)? };
                }
            }
            let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS);
            // SAFETY: as in `describe_configs`.
            let mut found: HashMap<String, Result<()>> = unsafe {
                let (array, count) = (resources.as_mut_ptr(), resources.len());
                let event = self
                    .client
                    .call(&ask, |client, options, queue| {
                        ffi::rd_kafka_IncrementalAlterConfigs(client, array, count, options, queue);
                    })
                    .map_err(|failure| failure.error("changing settings", "AlterConfigs on the topics"))?;
                let mut count = 0;
                let result = ffi::rd_kafka_event_IncrementalAlterConfigs_result(event.ptr());
                let resources = ffi::rd_kafka_IncrementalAlterConfigs_result_resources(result, &mut count);
                elements(resources, count)
                    .map(|resource| {
                        (string(ffi::rd_kafka_ConfigResource_name(resource)), read_error(resource, "AlterConfigs"))
                    })
                    .collect()
            };
            answers.extend(of.iter().map(|of| take(&mut found, of)));
        }
        Ok(answers)
    }
}

/// A broker is asked about itself alone.
fn batches(of: &[ConfigOf]) -> impl Iterator<Item = &[ConfigOf]> {
    of.chunk_by(|a, b| matches!((a, b), (ConfigOf::Topic(_), ConfigOf::Topic(_)))).flat_map(|of| of.chunks(BATCH))
}

fn take<T>(found: &mut HashMap<String, Result<T>>, of: &ConfigOf) -> Result<T> {
    let name = match of {
        ConfigOf::Topic(name) => name.clone(),
        ConfigOf::Broker(id) => id.to_string(),
    };
    found.remove(&name).unwrap_or_else(|| Err(Error::unavailable(format!("{of}: no answer"))))
}

/// # Safety
/// `resource` is valid.
unsafe fn add(resource: *mut ffi::rd_kafka_ConfigResource_t, of: &ConfigOf, change: &ConfigChange) -> Result<()> {
    use ffi::rd_kafka_AlterConfigOpType_t as Op;
    let (name, op, value) = match change {
        ConfigChange::Set(name, value) => {
            (name, Op::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, Some(c_string("value", value)?))
        }
        ConfigChange::Unset(name) => (name, Op::RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, None),
    };
    let text = c_string("setting", name)?;
    let value = value.as_ref().map_or(std::ptr::null(), |value| value.as_ptr());
    // SAFETY: texts are copied; an error is released here.
    unsafe {
        let error = ffi::rd_kafka_ConfigResource_add_incremental_config(resource, text.as_ptr(), op, value);
        let found = failure(error);
        if !error.is_null() {
            ffi::rd_kafka_error_destroy(error);
        }
        found.map_or(Ok(()), |failure| Err(failure.error(format!("{of}: {name}"), "AlterConfigs")))
    }
}

/// # Safety
/// `resource` is valid.
unsafe fn read_error(resource: *const ffi::rd_kafka_ConfigResource_t, right: &str) -> Result<()> {
    // SAFETY: a valid resource, whose texts live as long as it does.
    unsafe {
        let name = string(ffi::rd_kafka_ConfigResource_name(resource));
        let code = codes::rd_kafka_ConfigResource_error(resource);
        let failure = failure_of(code, ffi::rd_kafka_ConfigResource_error_string(resource));
        failure.map_or(Ok(()), |failure| Err(failure.error(format!("settings of {name}"), &format!("{right} on it"))))
    }
}

/// # Safety
/// `resource` is valid.
unsafe fn read_resource(resource: *const ffi::rd_kafka_ConfigResource_t) -> (String, Result<Vec<ConfigEntry>>) {
    // SAFETY: a valid resource, all of which lives as long as it does.
    unsafe {
        let name = string(ffi::rd_kafka_ConfigResource_name(resource));
        if let Err(error) = read_error(resource, "DescribeConfigs") {
            return (name, Err(error));
        }
        let mut count = 0;
        let entries = ffi::rd_kafka_ConfigResource_configs(resource, &mut count);
        let entries = elements(entries, count)
            .map(|entry| {
                let value = ffi::rd_kafka_ConfigEntry_value(entry);
                ConfigEntry {
                    name: string(ffi::rd_kafka_ConfigEntry_name(entry)),
                    value: (!value.is_null() && ffi::rd_kafka_ConfigEntry_is_sensitive(entry) != 1)
                        .then(|| string(value)),
                    source: match codes::rd_kafka_ConfigEntry_source(entry) {
                        1 => ConfigSource::Topic,
                        2..=4 => ConfigSource::Broker,
                        5 => ConfigSource::Default,
                        _ => ConfigSource::Other,
                    },
                }
            })
            .collect();
        (name, Ok(entries))
    }
}
