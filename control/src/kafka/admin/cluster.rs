//! The cluster: its brokers, and what this client may do to it.

use super::native::{elements, string};
use super::topics::read_operations;
use super::{Admin, Operation};
use crate::error::Result;
use rdkafka::bindings as ffi;

/// A broker as it is known to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its number.
    pub id: i32,
    /// The host that it tells clients.
    pub host: String,
    /// The port that it tells clients.
    pub port: u16,
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its identity.
    pub id: String,
    /// Its brokers.
    pub brokers: Vec<Broker>,
    /// What this client may do to it.
    pub allowed: Vec<Operation>,
}

impl Admin {
    /// What there is of brokers, and what this client may do. Every principal may ask.
    ///
    /// # Errors
    /// The request's own.
    pub fn describe_cluster(&self) -> Result<Cluster> {
        let mut ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER);
        ask.rights = true;
        // SAFETY: the one call is the one named; the answer is read while it lives.
        unsafe {
            let event = self
                .client
                .call(&ask, |client, options, queue| ffi::rd_kafka_DescribeCluster(client, options, queue))
                .map_err(|failure| failure.error("describing the cluster", "Describe on the cluster"))?;
            let result = ffi::rd_kafka_event_DescribeCluster_result(event.ptr());
            let mut count = 0;
            let nodes = ffi::rd_kafka_DescribeCluster_result_nodes(result, &mut count);
            let brokers = elements(nodes, count)
                .map(|node| Broker {
                    id: ffi::rd_kafka_Node_id(node),
                    host: string(ffi::rd_kafka_Node_host(node)),
                    port: ffi::rd_kafka_Node_port(node),
                })
                .collect();
            let mut count = 0;
            let allowed = ffi::rd_kafka_DescribeCluster_result_authorized_operations(result, &mut count);
            Ok(Cluster {
                id: string(ffi::rd_kafka_DescribeCluster_result_cluster_id(result)),
                brokers,
                allowed: read_operations(allowed, count),
            })
        }
    }
}
