"""What certificates and bundles that tel-control made can do: what is theirs, and nothing else. Every other attempt is refused by Kafka.

The ids are chosen to be each other's beginnings, or names that mean something elsewhere.
"""

import contextlib
import subprocess

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, ConfigResource, NewTopic
from confluent_kafka.admin import ResourcePatternType, ResourceType

from system import Failed, wait_for

IDS = ["c8", "c83", "c8_x", "c8-2", "a.b", "admin", "edge", "tel.clients"]
CONTROL_TOPICS = ["tel.clients", "tel.acks"]
ANSWER_S = 20

ALLOWED = "allowed"
TOPIC, GROUP, CLUSTER = "topic refused", "group refused", "cluster refused"
ANSWERS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: TOPIC,
    KafkaError.GROUP_AUTHORIZATION_FAILED: GROUP,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: CLUSTER,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transaction refused",
    # Who may not describe a topic is not told whether it is there.
    KafkaError.UNKNOWN_TOPIC_OR_PART: "not shown",
    KafkaError._NOENT: "not shown",
}
REFUSED = {TOPIC, GROUP, CLUSTER, "transaction refused", "not shown", "nothing"}


def answer(error):
    return ANSWERS.get(error.code(), f"failed: {error}")


class Holder:
    """Who has a certificate."""

    def __init__(self, name, folder, files, servers):
        certificate, key, authority = (folder / file for file in files)
        self.name = name
        self.properties = {
            "bootstrap.servers": servers,
            "broker.address.family": "v4",
            "security.protocol": "ssl",
            "ssl.ca.location": str(authority),
            "ssl.certificate.location": str(certificate),
            "ssl.key.location": str(key),
            # Refusals are what this is about.
            "log_level": 0,
            "topic.metadata.refresh.interval.ms": 1000,
        }

    def read(self, topic, group):
        """As a member of a group."""
        settings = {"group.id": group, "auto.offset.reset": "earliest", "session.timeout.ms": 10000}
        with contextlib.closing(Consumer({**self.properties, **settings})) as consumer:
            consumer.subscribe([topic])
            return first(consumer, set())

    def assign(self, topic):
        """Without a group."""
        settings = {"group.id": f"{self.name}:", "enable.auto.commit": False}
        with contextlib.closing(Consumer({**self.properties, **settings})) as consumer:
            consumer.assign([TopicPartition(topic, 0, 0)])
            # librdkafka asks for the group all the same.
            return first(consumer, {GROUP})

    def written_at(self, topic, key):
        """When the last record with this key was written, in seconds since 1970; none if there is none."""
        settings = {"group.id": f"{self.name}:", "enable.auto.commit": False, "enable.partition.eof": True}
        at = None
        with contextlib.closing(Consumer({**self.properties, **settings})) as consumer:
            consumer.assign([TopicPartition(topic, 0, 0)])
            while (message := consumer.poll(ANSWER_S)) and message.error() is None:
                at = message.timestamp()[1] / 1000 if message.key() == key else at
        return at

    def count_rights(self, principal):
        """What says how many rights a principal has now."""
        admin = AdminClient(self.properties)
        return lambda: len(admin.describe_acls(acls_of(principal)).result(ANSWER_S))

    def write(self, topic, key=None):
        said = []
        producer = Producer({**self.properties, "message.timeout.ms": ANSWER_S * 1000})
        producer.produce(topic, b"forged", key=key, partition=0, on_delivery=lambda error, _message: said.append(error))
        producer.flush(ANSWER_S + 5)
        if not said:
            return "no answer"
        return ALLOWED if said[0] is None else answer(said[0])

    def write_transaction(self, topic):
        """As the one writer of the list does."""
        producer = Producer({**self.properties, "transactional.id": "tel-control.list"})
        try:
            producer.init_transactions(ANSWER_S)
            return ALLOWED
        except KafkaException as error:
            return answer(error.args[0])

    def ask(self, call):
        """An admin's request: `call(admin)` gives futures."""
        admin = AdminClient(self.properties)
        try:
            shown = [future.result(ANSWER_S) for future in call(admin)]
            # librdkafka gives no error for ACLs that it is refused, but none of them.
            return "nothing" if shown == [[]] else ALLOWED
        except KafkaException as error:
            return answer(error.args[0])


def first(consumer, but):
    """What comes first: a record, or a refusal that is not one of `but`."""

    def next_one():
        message = consumer.poll(0.2)
        if message is None:
            return None
        got = ALLOWED if message.error() is None else answer(message.error())
        return None if got in but else got

    try:
        return wait_for("a record or a refusal", next_one, ANSWER_S)
    except Failed:
        return "nothing"


def admin_attempts(topic, group):
    """What an administrator can do to a topic and a group of others."""
    acl = AclBinding(
        ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:CN=c8:1", "*", AclOperation.READ, AclPermissionType.ALLOW
    )

    def of_group(partitions=None):
        return ConsumerGroupTopicPartitions(group, partitions)

    return {
        "delete the topic": lambda admin: admin.delete_topics([topic]).values(),
        "delete records": lambda admin: admin.delete_records([TopicPartition(topic, 0, 1)]).values(),
        "change settings": lambda admin: admin.alter_configs(
            [ConfigResource(ConfigResource.Type.TOPIC, topic, set_config={"retention.ms": "1"})]
        ).values(),
        "make a topic": lambda admin: admin.create_topics([NewTopic("logs.mine", 1, 1)]).values(),
        "make an ACL": lambda admin: admin.create_acls([acl]).values(),
        # There are many.
        "see ACLs": lambda admin: [admin.describe_acls(acls_of(None))],
        "delete the group": lambda admin: admin.delete_consumer_groups([group]).values(),
        "see the group's position": lambda admin: admin.list_consumer_group_offsets([of_group()]).values(),
        "set the group's position": lambda admin: admin.alter_consumer_group_offsets(
            [of_group([TopicPartition(topic, 0, 1)])]
        ).values(),
    }


def acls_of(principal):
    """All of a principal; of everybody without one."""
    return AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, principal, None, AclOperation.ANY, AclPermissionType.ANY
    )


class Table:
    """Attempts and their answers; those that are not as they should be."""

    def __init__(self):
        self.count, self.wrong = 0, []

    def expect(self, who, what, wanted, got):
        self.count += 1
        if got not in (wanted if isinstance(wanted, set) else {wanted}):
            self.wrong.append(f"{who.name}: {what}: {got}")

    def end(self):
        print(f"rights: {self.count} attempts, {self.count - len(self.wrong)} answered as they should be", flush=True)
        if self.wrong:
            raise Failed("\n".join(["attempts that were not answered as they should be:", *self.wrong]))


def clients(system, work):
    """The holders of what tel-control made for each id: for half of them a credential, for the others a bundle."""
    holders = {}
    for number, id in enumerate(IDS):
        system.control.run("client", "add", id)
        folder = work / f"rights-{id}"
        if number % 2:
            system.control.run("credential", "add", id, "--out", folder)
            files = ["client.pem", "client.key", "ca.pem"]
        else:
            archive = work / f"rights-{id}.zip"
            system.control.run("bundle", id, "--out", archive)
            subprocess.run(["unzip", "-q", archive, "-d", folder], check=True)
            files = [f"tel-{id}/certs/{file}" for file in ["client.pem", "client.key", "ca.pem"]]
            if not (folder / files[0]).exists():
                files = [str(next(folder.rglob(name)).relative_to(folder)) for name in ["client.pem", "client.key", "ca.pem"]]
        holders[id] = Holder(id, folder, files, system.kafka.servers)
    for id in IDS:
        system.wait_until_active(id)
    refused = system.control.run("client", "add", "a_b", check=False)
    if refused.returncode == 0 or "a.b" not in refused.stderr:
        raise Failed(f"a_b beside a.b: {refused}")
    return holders


def check(system, work):
    """Tries all of it."""
    holders = clients(system, work)
    table = Table()
    edge = Holder("edge-1", system.edges[0].folder, ["edge.pem", "edge.key", "ca.pem"], system.kafka.servers)

    for id in IDS:
        table.expect(edge, f"write to logs.{id}", ALLOWED, edge.write(f"logs.{id}"))
    for topic in ["tel.clients", "tel.other", "reports"]:
        table.expect(edge, f"write to {topic}", {TOPIC, "not shown"}, edge.write(topic, key="c8"))
    table.expect(edge, "read the list", ALLOWED, edge.assign("tel.clients"))
    table.expect(edge, "be the list's writer", REFUSED, edge.write_transaction("tel.clients"))
    for topic in ["tel.acks", *(f"logs.{id}" for id in IDS)]:
        table.expect(edge, f"read {topic}", {TOPIC, "not shown"}, edge.assign(topic))
    for group in ["edge-1", "edge:edge-1", "c8:x"]:
        table.expect(edge, f"be in group {group}", {GROUP}, edge.read("tel.clients", group))
    for what, call in admin_attempts("logs.c8", "c8:x").items():
        table.expect(edge, what, REFUSED, edge.ask(call))

    for id, holder in holders.items():
        others = [other for other in IDS if other != id]
        table.expect(holder, "read its own", ALLOWED, holder.read(f"logs.{id}", f"{id}:x"))
        table.expect(holder, "read its own without a group", ALLOWED, holder.assign(f"logs.{id}"))
        for topic in [*CONTROL_TOPICS, *(f"logs.{other}" for other in others), f"logs.{id}x", "logs."]:
            table.expect(holder, f"read {topic}", {TOPIC, "not shown"}, holder.read(topic, f"{id}:x"))
        for group in [id, f"{id}x:", f"x:{id}:", "tel-control", *(f"{other}:x" for other in others)]:
            table.expect(holder, f"be in group {group}", GROUP, holder.read(f"logs.{id}", group))
        for topic in [*CONTROL_TOPICS, f"logs.{id}", f"logs.{others[0]}", "reports"]:
            table.expect(holder, f"write to {topic}", {TOPIC, "not shown"}, holder.write(topic, key=id))
        table.expect(holder, "be the list's writer", REFUSED, holder.write_transaction("tel.clients"))
        for what, call in admin_attempts(f"logs.{others[0]}", f"{others[0]}:x").items():
            table.expect(holder, what, REFUSED, holder.ask(call))
    table.end()
