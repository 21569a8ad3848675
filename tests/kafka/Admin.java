import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * Admin commands from stdin, one a line, in one JVM: Admin PLAINTEXT SSL PKI.
 * Or the wait for a starting broker: Admin ready PLAINTEXT CLUSTER_ID SECONDS.
 *
 * The controller answers a change before the broker has applied it, so each command returns only once the broker
 * itself shows the change.
 */
public final class Admin {
    private static final int BATCH = 1000;
    private static final long WAIT_MS = 60_000;

    private final AdminClient kafka;

    private Admin(String bootstrap) {
        kafka = AdminClient.create(Map.of(
            "bootstrap.servers", bootstrap,
            "default.api.timeout.ms", "30000",
            "request.timeout.ms", "30000",
            "reconnect.backoff.ms", "50",
            "reconnect.backoff.max.ms", "200",
            "retry.backoff.ms", "20"));
    }

    public static void main(String[] args) throws Exception {
        boolean ok = args[0].equals("ready")
            ? new Admin(args[1]).ready(args[2], Long.parseLong(args[3]))
            : new Admin(args[0]).runLines();
        // No close: it would wait for requests in flight to a broker that may hang.
        System.out.flush();
        Runtime.getRuntime().halt(ok ? 0 : 1);
    }

    /** The cluster id tells the broker meant from another one that got the port first. */
    private boolean ready(String clusterId, long seconds) throws InterruptedException {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        while (System.nanoTime() < end) {
            try {
                DescribeClusterResult cluster = kafka.describeCluster();
                if (!cluster.nodes().get(2, TimeUnit.SECONDS).isEmpty()) {
                    return cluster.clusterId().get().equals(clusterId);
                }
            } catch (ExecutionException | TimeoutException e) {
                // Not up yet.
            }
            Thread.sleep(50);
        }
        return false;
    }

    private boolean runLines() throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String line;
        for (int number = 1; (line = in.readLine()) != null; number++) {
            String text = line.strip();
            if (text.isEmpty() || text.startsWith("#")) {
                continue;
            }
            try {
                run(new ArrayList<>(Arrays.asList(text.split("\\s+"))));
            } catch (Exception e) {
                Throwable cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
                System.out.flush();
                System.err.println("kafka admin: line " + number + ": " + text + ": "
                    + cause.getClass().getSimpleName() + ": " + cause.getMessage());
                return false;
            }
        }
        return true;
    }

    private void run(List<String> words) throws Exception {
        String verb = words.remove(0);
        switch (verb) {
            case "topic": createOne(words); break;
            case "topics": createMany(words); break;
            case "delete-topic": delete(only(words)); break;
            case "wait-topic": waitFor(List.of(only(words))); break;
            case "offsets": printOffsets(only(words)); break;
            case "acl": allow(binding(words)); break;
            case "unacl": disallow(binding(words)); break;
            default: throw new IllegalArgumentException("no such command");
        }
    }

    private static String only(List<String> words) {
        need(words.size() == 1, "one argument expected");
        return words.get(0);
    }

    private static void need(boolean condition, String message) {
        if (!condition) {
            throw new IllegalArgumentException(message);
        }
    }

    // topic NAME [PARTITIONS] [KEY=VALUE]...
    private void createOne(List<String> words) throws Exception {
        need(!words.isEmpty(), "topic NAME [PARTITIONS] [KEY=VALUE]...");
        String name = words.remove(0);
        int partitions = 1;
        if (!words.isEmpty() && words.get(0).indexOf('=') < 0) {
            partitions = Integer.parseInt(words.remove(0));
        }
        Map<String, String> configs = new HashMap<>();
        for (String word : words) {
            int equals = word.indexOf('=');
            need(equals > 0, "KEY=VALUE expected: " + word);
            configs.put(word.substring(0, equals), word.substring(equals + 1));
        }
        create(List.of(newTopic(name, partitions).configs(configs)));
        waitFor(List.of(name));
    }

    // topics PREFIX FROM TO [PARTITIONS]
    private void createMany(List<String> words) throws Exception {
        need(words.size() == 3 || words.size() == 4, "topics PREFIX FROM TO [PARTITIONS]");
        int partitions = words.size() == 4 ? Integer.parseInt(words.get(3)) : 1;
        List<String> names = new ArrayList<>();
        for (int i = Integer.parseInt(words.get(1)); i < Integer.parseInt(words.get(2)); i++) {
            names.add(words.get(0) + i);
        }
        for (int i = 0; i < names.size(); i += BATCH) {
            List<NewTopic> batch = new ArrayList<>();
            for (String name : names.subList(i, Math.min(i + BATCH, names.size()))) {
                batch.add(newTopic(name, partitions));
            }
            create(batch);
        }
        waitFor(names);
    }

    private static NewTopic newTopic(String name, int partitions) {
        return new NewTopic(name, Optional.of(partitions), Optional.empty());
    }

    private void create(List<NewTopic> topics) throws Exception {
        for (KafkaFuture<Void> created : kafka.createTopics(topics).values().values()) {
            try {
                created.get();
            } catch (ExecutionException e) {
                if (!(e.getCause() instanceof TopicExistsException)) {
                    throw e;
                }
            }
        }
    }

    private void delete(String name) throws Exception {
        kafka.deleteTopics(List.of(name)).all().get();
        await("topic still there", () -> !kafka.listTopics().names().get().contains(name));
    }

    /** The metadata shows a topic before its partitions take writes; an answer about its offsets means they do. */
    private void waitFor(List<String> names) throws Exception {
        for (int i = 0; i < names.size(); i += BATCH) {
            List<String> batch = names.subList(i, Math.min(i + BATCH, names.size()));
            await("topic not ready", () -> {
                endOffsets(batch);
                return true;
            });
        }
    }

    private Map<String, Long> endOffsets(List<String> names) throws Exception {
        Map<TopicPartition, OffsetSpec> latest = new HashMap<>();
        for (TopicDescription topic : kafka.describeTopics(names).allTopicNames().get().values()) {
            topic.partitions().forEach(p -> latest.put(new TopicPartition(topic.name(), p.partition()), OffsetSpec.latest()));
        }
        Map<String, Long> sums = new TreeMap<>();
        for (Map.Entry<TopicPartition, ListOffsetsResult.ListOffsetsResultInfo> end : kafka.listOffsets(latest).all().get().entrySet()) {
            sums.merge(end.getKey().topic(), end.getValue().offset(), Long::sum);
        }
        return sums;
    }

    // offsets TOPIC, or offsets PREFIX*
    private void printOffsets(String name) throws Exception {
        List<String> names = List.of(name);
        if (name.endsWith("*")) {
            String prefix = name.substring(0, name.length() - 1);
            Set<String> all = kafka.listTopics().names().get();
            names = all.stream().filter(topic -> topic.startsWith(prefix)).sorted().toList();
        }
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < names.size(); i += BATCH) {
            endOffsets(names.subList(i, Math.min(i + BATCH, names.size())))
                .forEach((topic, sum) -> out.append(topic).append(' ').append(sum).append('\n'));
        }
        System.out.print(out);
        System.out.flush();
    }

    // acl CN OPERATION RESOURCE_TYPE NAME literal|prefixed
    private static AclBinding binding(List<String> words) {
        need(words.size() == 5, "CN OPERATION RESOURCE_TYPE NAME literal|prefixed");
        AclOperation operation = AclOperation.fromString(words.get(1));
        need(operation != AclOperation.UNKNOWN, "no operation " + words.get(1));
        ResourceType type = ResourceType.fromString(words.get(2));
        need(type != ResourceType.UNKNOWN, "no resource type " + words.get(2));
        PatternType pattern = PatternType.fromString(words.get(4).toUpperCase(Locale.ROOT));
        need(pattern == PatternType.LITERAL || pattern == PatternType.PREFIXED, "literal or prefixed expected");
        return new AclBinding(new ResourcePattern(type, words.get(3), pattern),
            new AccessControlEntry("User:CN=" + words.get(0), "*", operation, AclPermissionType.ALLOW));
    }

    private void allow(AclBinding acl) throws Exception {
        kafka.createAcls(List.of(acl)).all().get();
        await("ACL not in force", () -> holds(acl));
    }

    private void disallow(AclBinding acl) throws Exception {
        need(!kafka.deleteAcls(List.of(acl.toFilter())).all().get().isEmpty(), "no such ACL");
        await("ACL still in force", () -> !holds(acl));
    }

    private boolean holds(AclBinding acl) throws Exception {
        return kafka.describeAcls(acl.toFilter()).values().get().contains(acl);
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private static void await(String otherwise, Condition condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(WAIT_MS);
        Throwable last = null;
        do {
            try {
                if (condition.holds()) {
                    return;
                }
            } catch (ExecutionException e) {
                if (!(e.getCause() instanceof RetriableException)) {
                    throw e;
                }
                last = e.getCause();
            }
            Thread.sleep(5);
        } while (System.nanoTime() < end);
        throw new TimeoutException(otherwise + (last == null ? "" : ": " + last));
    }
}
