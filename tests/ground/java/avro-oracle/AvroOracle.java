import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.apicurio.registry.utils.converter.AvroConverter;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Map;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.json.JsonConverter;

/**
 * Reads and writes Avro as Java's Connect does, with a real registry: one JSON line in, one out. Run from source:
 * {@code java -cp 'connect/lib/*:avro-converter/lib/*' AvroOracle.java APICURIO_URL}.
 *
 * In:  {"topic", "read": base64 of a message} or {"topic", "write": text of an envelope with schema and payload}
 * Out: {"envelope": text} or {"message": base64} or {"error", "why"}
 */
public final class AvroOracle {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        JsonConverter envelopes = new JsonConverter();
        envelopes.configure(Map.of("schemas.enable", "true", "replace.null.with.default", "false"), false);
        AvroConverter<?> avro = new AvroConverter<>();
        avro.configure(Map.of("apicurio.registry.url", args[0], "apicurio.registry.as-confluent", "true",
            "apicurio.registry.use-id", "contentId", "apicurio.registry.auto-register", "true"), false);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.write(JSON.writeValueAsString(answer(JSON.readTree(line), avro, envelopes)));
            out.newLine();
            out.flush();
        }
    }

    private static ObjectNode answer(JsonNode question, AvroConverter<?> avro, JsonConverter envelopes) {
        ObjectNode answer = JSON.createObjectNode();
        String topic = question.get("topic").asText();
        try {
            if (question.has("read")) {
                byte[] message = Base64.getDecoder().decode(question.get("read").asText());
                SchemaAndValue data = avro.toConnectData(topic, message);
                byte[] envelope = envelopes.fromConnectData(topic, data.schema(), data.value());
                return answer.put("envelope", new String(envelope, StandardCharsets.UTF_8));
            }
            byte[] envelope = question.get("write").asText().getBytes(StandardCharsets.UTF_8);
            SchemaAndValue data = envelopes.toConnectData(topic, envelope);
            byte[] message = avro.fromConnectData(topic, data.schema(), data.value());
            return answer.put("message", Base64.getEncoder().encodeToString(message));
        } catch (Exception e) {
            return answer.put("error", e.getClass().getName()).put("why", String.valueOf(e.getMessage()));
        }
    }
}
