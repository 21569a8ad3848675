import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.AuthenticationException;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What a certificate may do, tried over mutual TLS: Probe PLAINTEXT SSL PKI, one command a line on stdin.
 *   write NAME TOPIC VALUE   prints "written"
 *   read NAME TOPIC GROUP    prints "read" and every value in the topic
 * NAME is a certificate of PKI, or "-" for none. What Kafka refuses prints "refused" and the exception's name; anything
 * else that goes wrong ends the run with status 1.
 */
public final class Probe {
    private static final int WAIT_MS = 20_000;

    private final String ssl;
    private final Path pki;

    private Probe(String ssl, Path pki) {
        this.ssl = ssl;
        this.pki = pki;
    }

    public static void main(String[] args) throws Exception {
        Probe probe = new Probe(args[1], Path.of(args[2]));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        int status = 0;
        String line;
        while (status == 0 && (line = in.readLine()) != null) {
            if (line.isBlank()) {
                continue;
            }
            try {
                System.out.println(probe.run(line.strip().split("\\s+", 4)));
            } catch (Exception e) {
                System.err.println("kafka probe: " + line + ": " + e);
                status = 1;
            }
        }
        System.out.flush();
        Runtime.getRuntime().halt(status);
    }

    private String run(String[] words) throws Exception {
        if (words.length != 4) {
            throw new IllegalArgumentException("write NAME TOPIC VALUE, or read NAME TOPIC GROUP");
        }
        try {
            switch (words[0]) {
                case "write": return write(words[1], words[2], words[3]);
                case "read": return read(words[1], words[2], words[3]);
                default: throw new IllegalArgumentException("no such command");
            }
        } catch (AuthorizationException | AuthenticationException e) {
            return "refused " + e.getClass().getSimpleName();
        }
    }

    private Map<String, Object> config(String name) throws Exception {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", ssl);
        config.put("security.protocol", "SSL");
        config.put("ssl.truststore.type", "PEM");
        config.put("ssl.truststore.location", pki.resolve("ca.pem").toString());
        if (!name.equals("-")) {
            config.put("ssl.keystore.type", "PEM");
            config.put("ssl.keystore.key", Files.readString(pki.resolve(name + ".key")));
            config.put("ssl.keystore.certificate.chain", Files.readString(pki.resolve(name + ".crt")));
        }
        config.put("request.timeout.ms", WAIT_MS / 2);
        return config;
    }

    private String write(String name, String topic, String value) throws Exception {
        Map<String, Object> config = config(name);
        config.put("max.block.ms", WAIT_MS);
        config.put("delivery.timeout.ms", WAIT_MS);
        // Idempotence would retry what the test wants to see fail.
        config.put("enable.idempotence", false);
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            producer.send(new ProducerRecord<>(topic, value)).get();
            return "written";
        } catch (ExecutionException e) {
            throw (Exception) e.getCause();
        }
    }

    private String read(String name, String topic, String group) throws Exception {
        Map<String, Object> config = config(name);
        config.put("group.id", group);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", false);
        config.put("default.api.timeout.ms", WAIT_MS);
        long end = System.nanoTime() + WAIT_MS * 1_000_000L;
        List<String> values = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (System.nanoTime() < end) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                    values.add(record.value());
                }
                if (!consumer.assignment().isEmpty() && atEnd(consumer, consumer.assignment())) {
                    return values.isEmpty() ? "read" : "read " + String.join(" ", values);
                }
            }
        }
        throw new TimeoutException("not read to the end");
    }

    private static boolean atEnd(KafkaConsumer<String, String> consumer, Collection<TopicPartition> partitions) {
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        return partitions.stream().allMatch(partition -> consumer.position(partition) >= ends.get(partition));
    }
}
