//! Access control lists: what is there, new ones, deletion.

use super::native::{c_string, elements, failure, string, Owned};
use super::{distinct, spread, Admin, BATCH};
use crate::error::{Error, Result};
use rdkafka::bindings as ffi;
use std::ffi::{c_char, CString};
use std::fmt;
use std::ptr;

/// What an ACL is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// The cluster, whose one name is `kafka-cluster`.
    Cluster,
    /// A transactional id.
    TransactionalId,
    /// What this code has no name for.
    Other,
}

/// How an ACL's name is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// That name alone; `*` is every name.
    Literal,
    /// Every name that begins so.
    Prefixed,
    /// What this code has no name for.
    Other,
}

/// What an ACL is about doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Operation {
    All,
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
    /// What this code has no name for.
    Other,
}

/// Whether an ACL grants or refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// It grants.
    Allow,
    /// It refuses, whatever else grants.
    Deny,
    /// What this code has no name for.
    Other,
}

impl Operation {
    /// The operation of librdkafka's number.
    pub(super) fn from_number(number: i32) -> Operation {
        match number {
            2 => Operation::All,
            3 => Operation::Read,
            4 => Operation::Write,
            5 => Operation::Create,
            6 => Operation::Delete,
            7 => Operation::Alter,
            8 => Operation::Describe,
            9 => Operation::ClusterAction,
            10 => Operation::DescribeConfigs,
            11 => Operation::AlterConfigs,
            12 => Operation::IdempotentWrite,
            _ => Operation::Other,
        }
    }

    fn native(self) -> ffi::rd_kafka_AclOperation_t {
        use ffi::rd_kafka_AclOperation_t as Native;
        match self {
            Operation::All => Native::RD_KAFKA_ACL_OPERATION_ALL,
            Operation::Read => Native::RD_KAFKA_ACL_OPERATION_READ,
            Operation::Write => Native::RD_KAFKA_ACL_OPERATION_WRITE,
            Operation::Create => Native::RD_KAFKA_ACL_OPERATION_CREATE,
            Operation::Delete => Native::RD_KAFKA_ACL_OPERATION_DELETE,
            Operation::Alter => Native::RD_KAFKA_ACL_OPERATION_ALTER,
            Operation::Describe => Native::RD_KAFKA_ACL_OPERATION_DESCRIBE,
            Operation::ClusterAction => Native::RD_KAFKA_ACL_OPERATION_CLUSTER_ACTION,
            Operation::DescribeConfigs => Native::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS,
            Operation::AlterConfigs => Native::RD_KAFKA_ACL_OPERATION_ALTER_CONFIGS,
            Operation::IdempotentWrite => Native::RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE,
            Operation::Other => Native::RD_KAFKA_ACL_OPERATION_UNKNOWN,
        }
    }
}

impl ResourceType {
    fn native(self) -> ffi::rd_kafka_ResourceType_t {
        use ffi::rd_kafka_ResourceType_t as Native;
        match self {
            ResourceType::Topic => Native::RD_KAFKA_RESOURCE_TOPIC,
            ResourceType::Group => Native::RD_KAFKA_RESOURCE_GROUP,
            // The number that is a broker in configurations is the cluster in ACLs.
            ResourceType::Cluster => Native::RD_KAFKA_RESOURCE_BROKER,
            ResourceType::TransactionalId => Native::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID,
            ResourceType::Other => Native::RD_KAFKA_RESOURCE_UNKNOWN,
        }
    }
}

impl Pattern {
    fn native(self) -> ffi::rd_kafka_ResourcePatternType_t {
        use ffi::rd_kafka_ResourcePatternType_t as Native;
        match self {
            Pattern::Literal => Native::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
            Pattern::Prefixed => Native::RD_KAFKA_RESOURCE_PATTERN_PREFIXED,
            Pattern::Other => Native::RD_KAFKA_RESOURCE_PATTERN_UNKNOWN,
        }
    }
}

impl Permission {
    fn native(self) -> ffi::rd_kafka_AclPermissionType_t {
        use ffi::rd_kafka_AclPermissionType_t as Native;
        match self {
            Permission::Allow => Native::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
            Permission::Deny => Native::RD_KAFKA_ACL_PERMISSION_TYPE_DENY,
            Permission::Other => Native::RD_KAFKA_ACL_PERMISSION_TYPE_UNKNOWN,
        }
    }
}

/// One access control list entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Acl {
    /// Whose right it is, such as `User:CN=c83:1`.
    pub principal: String,
    /// What it is about.
    pub resource: ResourceType,
    /// How its name is compared.
    pub pattern: Pattern,
    /// Its name, or the beginning of it.
    pub name: String,
    /// What is done with it.
    pub operation: Operation,
    /// Granted or refused.
    pub permission: Permission,
    /// From which host; `*` is any.
    pub host: String,
}

impl Acl {
    /// A right from any host.
    pub fn allow(principal: &str, operation: Operation, resource: ResourceType, pattern: Pattern, name: &str) -> Acl {
        Acl {
            principal: principal.to_owned(),
            resource,
            pattern,
            name: name.to_owned(),
            operation,
            permission: Permission::Allow,
            host: "*".to_owned(),
        }
    }
}

/// In the words of Kafka's own tools.
impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Acl { principal, resource, pattern, name, operation, permission, host } = self;
        write!(f, "{principal}: {permission:?} {operation:?} on {resource:?} {pattern:?} {name}")?;
        if host != "*" {
            write!(f, " from {host}")?;
        }
        Ok(())
    }
}

/// Which ACLs are meant; what is `None` may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct AclFilter {
    pub principal: Option<String>,
    pub resource: Option<ResourceType>,
    pub pattern: Option<Pattern>,
    pub name: Option<String>,
    pub operation: Option<Operation>,
    pub permission: Option<Permission>,
    pub host: Option<String>,
}

/// That ACL alone.
impl From<&Acl> for AclFilter {
    fn from(acl: &Acl) -> AclFilter {
        AclFilter {
            principal: Some(acl.principal.clone()),
            resource: Some(acl.resource),
            pattern: Some(acl.pattern),
            name: Some(acl.name.clone()),
            operation: Some(acl.operation),
            permission: Some(acl.permission),
            host: Some(acl.host.clone()),
        }
    }
}

impl AclFilter {
    /// All ACLs of this principal.
    pub fn of(principal: &str) -> AclFilter {
        AclFilter { principal: Some(principal.to_owned()), ..AclFilter::default() }
    }

    /// # Safety
    /// The caller releases the filter.
    unsafe fn native(
        &self,
        into: &mut Owned<ffi::rd_kafka_AclBindingFilter_t>,
    ) -> Result<*mut ffi::rd_kafka_AclBindingFilter_t> {
        let text = |what, text: &Option<String>| text.as_deref().map(|text| c_string(what, text)).transpose();
        let (name, principal, host) =
            (text("name", &self.name)?, text("principal", &self.principal)?, text("host", &self.host)?);
        let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        let mut why = [0 as c_char; 256];
        // SAFETY: texts are null or ended with NUL, and are copied; `why` has the size that is told.
        unsafe {
            let filter = ffi::rd_kafka_AclBindingFilter_new(
                self.resource.map_or(ffi::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_ANY, ResourceType::native),
                pointer(&name),
                self.pattern
                    .map_or(ffi::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_ANY, Pattern::native),
                pointer(&principal),
                pointer(&host),
                self.operation.map_or(ffi::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ANY, Operation::native),
                self.permission
                    .map_or(ffi::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ANY, Permission::native),
                why.as_mut_ptr(),
                why.len(),
            );
            into.push(filter, "filter of ACLs", &why)
        }
    }
}

impl Admin {
    /// The ACLs that the filter means.
    ///
    /// librdkafka 2.12 does not pass on that Kafka refuses this, but says that there are none. So an answer of none is only
    /// believed of a principal that may look.
    ///
    /// The answer is parsed on a stack of 8 MiB, about 70 bytes for each ACL: it is good for some 100,000 in one call.
    ///
    /// # Errors
    /// `Unavailable` without the right to describe the cluster, and the request's own.
    pub fn describe_acls(&self, filter: &AclFilter) -> Result<Vec<Acl>> {
        const RIGHT: &str = "Describe on the cluster";
        let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBEACLS);
        // SAFETY: the filter is copied by the request and released once; the one call is the one named; the answer is read while
        // it lives.
        let found: Vec<Acl> = unsafe {
            let mut owned = Owned::new(ffi::rd_kafka_AclBinding_destroy);
            let filter = filter.native(&mut owned)?;
            let event = self
                .client
                .call(&ask, |client, options, queue| ffi::rd_kafka_DescribeAcls(client, filter, options, queue))
                .map_err(|failure| failure.error("describing ACLs", RIGHT))?;
            let mut count = 0;
            let result = ffi::rd_kafka_event_DescribeAcls_result(event.ptr());
            let acls = ffi::rd_kafka_DescribeAcls_result_acls(result, &mut count);
            elements(acls, count).map(|acl| read_acl(acl)).collect()
        };
        if found.is_empty() {
            let allowed = self.describe_cluster()?.allowed;
            if !allowed.contains(&Operation::Describe) && !allowed.contains(&Operation::All) {
                return Err(Error::unavailable(format!(
                    "describing ACLs: Kafka refuses it: tel-control's principal needs {RIGHT}"
                )));
            }
        }
        Ok(found)
    }

    /// Makes ACLs; one that is there already stays, and is no error.
    ///
    /// # Errors
    /// The request's own.
    pub fn create_acls(&self, acls: &[Acl]) -> Result<Vec<Result<()>>> {
        const RIGHT: &str = "Alter on the cluster";
        let (once, which) = distinct(acls);
        let mut answers: Vec<Result<()>> = Vec::with_capacity(once.len());
        for acls in once.chunks(BATCH) {
            let mut new = Owned::new(ffi::rd_kafka_AclBinding_destroy);
            for acl in acls {
                let (name, principal, host) = (
                    c_string("name", &acl.name)?,
                    c_string("principal", &acl.principal)?,
                    c_string("host", &acl.host)?,
                );
                let mut why = [0 as c_char; 256];
                // SAFETY: texts are copied and ended with NUL; `why` has the size that is told; the object is released once.
                unsafe {
                    let made = ffi::rd_kafka_AclBinding_new(
                        acl.resource.native(),
                        name.as_ptr(),
                        acl.pattern.native(),
                        principal.as_ptr(),
                        host.as_ptr(),
                        acl.operation.native(),
                        acl.permission.native(),
                        why.as_mut_ptr(),
                        why.len(),
                    );
                    new.push(made, &format!("ACL {acl}"), &why)?;
                }
            }
            let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEACLS);
            // SAFETY: the array has as many objects as is told, the one call is the one named, and the answer, which has as many
            // results in the same order, is read while it lives.
            unsafe {
                let (array, count) = (new.as_mut_ptr(), new.len());
                let event = self
                    .client
                    .call(&ask, |client, options, queue| ffi::rd_kafka_CreateAcls(client, array, count, options, queue))
                    .map_err(|failure| failure.error("creating ACLs", RIGHT))?;
                let mut count = 0;
                let result = ffi::rd_kafka_event_CreateAcls_result(event.ptr());
                let results = ffi::rd_kafka_CreateAcls_result_acls(result, &mut count);
                answers.extend(elements(results, count).zip(acls).map(|(result, acl)| {
                    failure(ffi::rd_kafka_acl_result_error(result))
                        .map_or(Ok(()), |failure| Err(failure.error(format!("ACL {acl}"), RIGHT)))
                }));
            }
        }
        complete(&mut answers, once.len(), || Err(Error::unavailable("creating ACLs: no answer")));
        Ok(spread(answers, which))
    }

    /// Deletes the ACLs that the filters mean, and tells which these were.
    ///
    /// # Errors
    /// The request's own.
    pub fn delete_acls(&self, filters: &[AclFilter]) -> Result<Vec<Result<Vec<Acl>>>> {
        const RIGHT: &str = "Alter on the cluster";
        let (once, which) = distinct(filters);
        let mut answers: Vec<Result<Vec<Acl>>> = Vec::with_capacity(once.len());
        for filters in once.chunks(BATCH) {
            let mut old = Owned::new(ffi::rd_kafka_AclBinding_destroy);
            for filter in filters {
                // SAFETY: it is released with `old`.
                unsafe { filter.native(&mut old)? };
            }
            let ask = self.ask(ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEACLS);
            // SAFETY: as in `create_acls`.
            unsafe {
                let (array, count) = (old.as_mut_ptr(), old.len());
                let event = self
                    .client
                    .call(&ask, |client, options, queue| ffi::rd_kafka_DeleteAcls(client, array, count, options, queue))
                    .map_err(|failure| failure.error("deleting ACLs", RIGHT))?;
                let mut count = 0;
                let result = ffi::rd_kafka_event_DeleteAcls_result(event.ptr());
                let responses = ffi::rd_kafka_DeleteAcls_result_responses(result, &mut count);
                answers.extend(elements(responses, count).map(|response| {
                    if let Some(failure) = failure(ffi::rd_kafka_DeleteAcls_result_response_error(response)) {
                        return Err(failure.error("deleting ACLs", RIGHT));
                    }
                    let mut count = 0;
                    let acls = ffi::rd_kafka_DeleteAcls_result_response_matching_acls(response, &mut count);
                    elements(acls, count)
                        .map(|acl| match failure(ffi::rd_kafka_AclBinding_error(acl)) {
                            None => Ok(read_acl(acl)),
                            Some(failure) => Err(failure.error(format!("deleting ACL {}", read_acl(acl)), RIGHT)),
                        })
                        .collect()
                }));
            }
        }
        complete(&mut answers, once.len(), || Err(Error::unavailable("deleting ACLs: no answer")));
        Ok(spread(answers, which))
    }
}

fn complete<T>(answers: &mut Vec<T>, count: usize, none: impl Fn() -> T) {
    answers.resize_with(count.max(answers.len()), none);
}

/// # Safety
/// `acl` is valid.
unsafe fn read_acl(acl: *const ffi::rd_kafka_AclBinding_t) -> Acl {
    // SAFETY: a valid binding, whose texts live as long as it does. librdkafka has replaced numbers that its enumerations do not have.
    unsafe {
        Acl {
            principal: string(ffi::rd_kafka_AclBinding_principal(acl)),
            resource: match ffi::rd_kafka_AclBinding_restype(acl) {
                ffi::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC => ResourceType::Topic,
                ffi::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_GROUP => ResourceType::Group,
                ffi::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_BROKER => ResourceType::Cluster,
                ffi::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID => ResourceType::TransactionalId,
                _ => ResourceType::Other,
            },
            pattern: match ffi::rd_kafka_AclBinding_resource_pattern_type(acl) {
                ffi::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL => Pattern::Literal,
                ffi::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_PREFIXED => Pattern::Prefixed,
                _ => Pattern::Other,
            },
            name: string(ffi::rd_kafka_AclBinding_name(acl)),
            operation: Operation::from_number(ffi::rd_kafka_AclBinding_operation(acl) as i32),
            permission: match ffi::rd_kafka_AclBinding_permission_type(acl) {
                ffi::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW => Permission::Allow,
                ffi::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_DENY => Permission::Deny,
                _ => Permission::Other,
            },
            host: string(ffi::rd_kafka_AclBinding_host(acl)),
        }
    }
}
