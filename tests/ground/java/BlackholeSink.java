package penstock.bench;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.Task;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.sink.SinkConnector;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.sink.SinkTask;

/**
 * Takes records and does nothing with them: what remains is the cost of Java Connect itself. With blackhole.journal.path it
 * notes what it takes, in the lines of Penstock's Blackhole.
 */
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
            Map<String, String> own = new HashMap<>(config);
            if (config.containsKey("blackhole.journal.path")) {
                own.put("blackhole.task", config.get("name") + "-" + task);
            }
            configs.add(own);
        }
        return configs;
    }

    public static class BlackholeTask extends SinkTask {
        private static final long PROCESS = ProcessHandle.current().pid();
        private long records;
        private String task;
        private FileChannel journal;

        @Override public String version() { return "1"; }

        @Override public void start(Map<String, String> config) {
            task = config.get("blackhole.task");
            String path = config.get("blackhole.journal.path");
            try {
                journal = path == null ? null
                    : FileChannel.open(Path.of(path), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            } catch (IOException error) {
                throw new ConnectException("open blackhole.journal.path=" + path, error);
            }
            note(line("start"));
        }

        @Override public void put(Collection<SinkRecord> batch) {
            records += batch.size();
            if (journal == null) {
                return;
            }
            StringBuilder lines = new StringBuilder();
            SinkRecord first = null, last = null;
            for (SinkRecord record : batch) {
                if (first != null && !(record.topic().equals(first.topic()) && record.kafkaPartition().equals(first.kafkaPartition()))) {
                    lines.append(run(first, last));
                    first = null;
                }
                first = first == null ? record : first;
                last = record;
            }
            if (first != null) {
                note(lines.append(run(first, last)).toString());
            }
        }

        @Override public void stop() {
            System.out.println("blackhole took " + records + " records");
            if (task != null) {
                note(line("stop"));
            }
        }

        private String run(SinkRecord first, SinkRecord last) {
            return line("put " + first.topic() + " " + first.kafkaPartition() + " " + first.kafkaOffset() + " " + last.kafkaOffset());
        }

        private String line(String what) {
            return System.currentTimeMillis() + " " + PROCESS + " " + task + " " + what + "\n";
        }

        /** In one write, which appends as a whole whoever else writes. */
        private void note(String lines) {
            if (journal == null) {
                return;
            }
            try {
                journal.write(ByteBuffer.wrap(lines.getBytes(StandardCharsets.UTF_8)));
            } catch (IOException error) {
                throw new ConnectException("write the journal", error);
            }
        }
    }
}
