package sluicegate.peers.flink;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.Optional;
import java.util.stream.Stream;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.ExternalizedCheckpointRetention;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.StateRecoveryOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import sluicegate.peers.orders.Settings;

/** Runs the order job until it is killed, or fails. Goes on from the newest checkpoint in the state folder, if there is one. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws Exception {
        Settings settings = Settings.of(arguments);
        StreamExecutionEnvironment environment =
                StreamExecutionEnvironment.createLocalEnvironment(settings.threads(), configuration(settings));
        OrderJob.build(environment, settings);
        JobClient job = environment.executeAsync("orders");
        while (!settings.drain().isAsked()) {
            if (job.getJobStatus().get().isGloballyTerminalState()) {
                // Throws what the job failed with.
                job.getJobExecutionResult().get();
                System.exit(1);
            }
            Thread.sleep(200);
        }
        String folder = settings.stateDir().resolve("savepoints").toUri().toString();
        job.stopWithSavepoint(true, folder, SavepointFormatType.NATIVE).get();
        settings.drain().done("all");
        // Whoever measures ends it.
        Thread.currentThread().join();
    }

    private static Configuration configuration(Settings settings) throws IOException {
        Path checkpoints = settings.stateDir().resolve("checkpoints");
        Files.createDirectories(checkpoints);
        Configuration configuration = new Configuration();
        configuration.set(PipelineOptions.OBJECT_REUSE, true);
        configuration.set(PipelineOptions.GENERIC_TYPES, false);
        configuration.set(StateBackendOptions.STATE_BACKEND, "rocksdb");
        configuration.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, true);
        configuration.set(CheckpointingOptions.CHECKPOINTING_CONSISTENCY_MODE, CheckpointingMode.EXACTLY_ONCE);
        configuration.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofMillis(settings.commitIntervalMs()));
        configuration.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, checkpoints.toUri().toString());
        configuration.set(
                CheckpointingOptions.EXTERNALIZED_CHECKPOINT_RETENTION, ExternalizedCheckpointRetention.RETAIN_ON_CANCELLATION);
        // Written in place of small files; the state of the sources and sinks is that small.
        configuration.set(CheckpointingOptions.FS_SMALL_FILE_THRESHOLD, MemorySize.ofMebiBytes(1));
        // A failed attempt must be seen by whoever measures, not be repeated.
        configuration.set(RestartStrategyOptions.RESTART_STRATEGY, "none");
        configuration.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(256));
        configuration.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(64));
        configuration.set(TaskManagerOptions.NETWORK_MEMORY_MAX, MemorySize.ofMebiBytes(64));
        newest(checkpoints).ifPresent(path -> configuration.set(StateRecoveryOptions.SAVEPOINT_PATH, path.toUri().toString()));
        return configuration;
    }

    /** Each run has a folder named by its job's random id, with the checkpoints `chk-N` that it has completed. */
    private static Optional<Path> newest(Path checkpoints) throws IOException {
        try (Stream<Path> all = Files.walk(checkpoints, 3)) {
            return all.filter(path -> path.endsWith("_metadata"))
                    .max(Comparator.comparingLong(path -> path.toFile().lastModified()))
                    .map(Path::getParent);
        }
    }
}
