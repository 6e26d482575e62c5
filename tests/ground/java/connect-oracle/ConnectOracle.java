import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.util.TreeMap;
import org.apache.kafka.common.MetricNameTemplate;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.runtime.ConnectMetricsRegistry;
import org.apache.kafka.connect.runtime.SinkConnectorConfig;
import org.apache.kafka.connect.runtime.SourceConnectorConfig;
import org.apache.kafka.connect.runtime.distributed.Crypto;
import org.apache.kafka.connect.runtime.distributed.DistributedConfig;
import org.apache.kafka.connect.runtime.standalone.StandaloneConfig;

/**
 * What Java's worker knows by heart, as lines with tabs between their parts:
 *   metric      group, name, tags (separated by commas)
 *   distributed key, type, default (`null` when there is none, `REQUIRED` when one must be given)
 *   standalone  the same for standalone workers
 *   sink        the same for sink connectors of any class
 *   source      the same for source connectors of any class
 */
public class ConnectOracle {
    public static void main(String[] args) throws Exception {
        for (MetricNameTemplate metric : new ConnectMetricsRegistry().getAllTemplates()) {
            line("metric", metric.group(), metric.name(), String.join(",", metric.tags()));
        }
        keys("distributed", distributed());
        keys("standalone", standalone());
        keys("sink", SinkConnectorConfig.configDef());
        keys("source", SourceConnectorConfig.configDef());
    }

    /** Both definitions are private. */
    private static ConfigDef distributed() throws Exception {
        Method definition = DistributedConfig.class.getDeclaredMethod("config", Crypto.class);
        definition.setAccessible(true);
        return (ConfigDef) definition.invoke(null, Crypto.SYSTEM);
    }

    private static ConfigDef standalone() throws Exception {
        Field definition = StandaloneConfig.class.getDeclaredField("CONFIG");
        definition.setAccessible(true);
        return (ConfigDef) definition.get(null);
    }

    private static void keys(String kind, ConfigDef definition) {
        for (ConfigDef.ConfigKey key : new TreeMap<>(definition.configKeys()).values()) {
            Object value = key.defaultValue;
            String shown = value == ConfigDef.NO_DEFAULT_VALUE ? "REQUIRED" : ConfigDef.convertToString(value, key.type);
            line(kind, key.name, key.type.toString(), shown == null ? "null" : shown);
        }
    }

    private static void line(String... parts) {
        System.out.println(String.join("\t", parts));
    }
}
