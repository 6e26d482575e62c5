import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.transforms.Transformation;
import org.apache.kafka.connect.transforms.predicates.Predicate;

/**
 * Says what Connect's own transforms and predicates make of records: one JSON line in, one out. Run from source:
 * {@code java -cp 'connect/lib/*' TransformOracle.java}.
 *
 * In:  {"class", "config": {..}, "topic", "partition", "offset", "timestamp", "key": DATA, "value": DATA, "headers": [[name, DATA]]}
 * Out: {"error", "message"} or {"matches": bool} or {"dropped": true} or a record of the same form, or {"unwritable": message} when
 * the transform made what no converter can write.
 * DATA: null, or the text of a JSON value under "json", or the text of an envelope with schema and payload under "envelope".
 */
public final class TransformOracle {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final JsonConverter PLAIN = converter(false);
    private static final JsonConverter ENVELOPE = converter(true);

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.write(JSON.writeValueAsString(answer(JSON.readTree(line))));
            out.newLine();
        }
        out.flush();
    }

    private static ObjectNode answer(JsonNode question) {
        ObjectNode answer = JSON.createObjectNode();
        try {
            Map<String, String> config = new HashMap<>();
            question.get("config").fields().forEachRemaining(e -> config.put(e.getKey(), e.getValue().asText()));
            SinkRecord record = record(question);
            Object plugin = Class.forName(question.get("class").asText()).getDeclaredConstructor().newInstance();
            if (plugin instanceof Predicate) {
                @SuppressWarnings("unchecked")
                Predicate<SinkRecord> predicate = (Predicate<SinkRecord>) plugin;
                predicate.configure(config);
                return answer.put("matches", predicate.test(record));
            }
            @SuppressWarnings("unchecked")
            Transformation<SinkRecord> transform = (Transformation<SinkRecord>) plugin;
            transform.configure(config);
            SinkRecord result = transform.apply(record);
            transform.close();
            if (result == null) {
                return answer.put("dropped", true);
            }
            try {
                return write(result, answer);
            } catch (Exception e) {
                return answer.removeAll().put("unwritable", String.valueOf(e.getMessage()));
            }
        } catch (Exception e) {
            return answer.removeAll().put("error", e.getClass().getName()).put("message", String.valueOf(e.getMessage()));
        }
    }

    private static SinkRecord record(JsonNode question) {
        SchemaAndValue key = data(question.get("key"));
        SchemaAndValue value = data(question.get("value"));
        ConnectHeaders headers = new ConnectHeaders();
        for (JsonNode header : question.get("headers")) {
            headers.add(header.get(0).asText(), data(header.get(1)));
        }
        JsonNode timestamp = question.get("timestamp");
        return new SinkRecord(question.get("topic").asText(), question.get("partition").asInt(), key.schema(), key.value(),
            value.schema(), value.value(), question.get("offset").asLong(), timestamp.isNull() ? null : timestamp.asLong(),
            TimestampType.CREATE_TIME, headers);
    }

    private static SchemaAndValue data(JsonNode data) {
        if (data.isNull()) {
            return SchemaAndValue.NULL;
        }
        boolean hasSchema = data.has("envelope");
        byte[] text = data.get(hasSchema ? "envelope" : "json").asText().getBytes(StandardCharsets.UTF_8);
        return (hasSchema ? ENVELOPE : PLAIN).toConnectData("t", text);
    }

    private static ObjectNode write(SinkRecord record, ObjectNode answer) throws Exception {
        answer.put("topic", record.topic());
        answer.put("partition", record.kafkaPartition());
        answer.put("offset", record.kafkaOffset());
        answer.put("timestamp", record.timestamp());
        answer.set("key", write(record.keySchema(), record.key()));
        answer.set("value", write(record.valueSchema(), record.value()));
        ArrayNode headers = answer.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(write(header.schema(), header.value()));
        }
        return answer;
    }

    private static JsonNode write(Schema schema, Object value) {
        if (schema == null && value == null) {
            return JSON.nullNode();
        }
        byte[] text = (schema == null ? PLAIN : ENVELOPE).fromConnectData("t", schema, value);
        return JSON.createObjectNode().put(schema == null ? "json" : "envelope", new String(text, StandardCharsets.UTF_8));
    }

    private static JsonConverter converter(boolean hasSchemas) {
        JsonConverter converter = new JsonConverter();
        converter.configure(Map.of("schemas.enable", String.valueOf(hasSchemas), "replace.null.with.default", "false"), false);
        return converter;
    }
}
