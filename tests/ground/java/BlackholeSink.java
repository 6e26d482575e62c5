package penstock.bench;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.sink.SinkConnector;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;

/** Takes records and does nothing with them: what remains is the cost of Java Connect itself. */
public class BlackholeSink extends SinkConnector {
    private Map<String, String> config;

    @Override public String version() { return "1"; }
    @Override public ConfigDef config() { return new ConfigDef(); }
    @Override public Class<? extends Task> taskClass() { return BlackholeTask.class; }
    @Override public void start(Map<String, String> config) { this.config = config; }
    @Override public void stop() { }

    @Override public List<Map<String, String>> taskConfigs(int maxTasks) {
        List<Map<String, String>> configs = new ArrayList<>();
        for (int task = 0; task < maxTasks; task++) {
            configs.add(config);
        }
        return configs;
    }

    public static class BlackholeTask extends SinkTask {
        private long records;

        @Override public String version() { return "1"; }
        @Override public void start(Map<String, String> config) { }
        @Override public void put(Collection<SinkRecord> batch) { records += batch.size(); }
        @Override public void stop() { System.out.println("blackhole took " + records + " records"); }
    }
}
