package sluicegate.peers.orders;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;

/** What the command line says: {@code name=value} each. */
public record Settings(
        String bootstrap,
        String applicationId,
        String input,
        String outputPrefix,
        long commitIntervalMs,
        int threads,
        Path stateDir,
        Drain drain) {

    private static final Set<String> NAMES =
            Set.of("bootstrap", "application-id", "input", "output-prefix", "interval-ms", "threads", "state-dir", "drain-file");

    /** Fails with what is allowed. */
    public static Settings of(String[] arguments) {
        Map<String, String> given = new HashMap<>();
        for (String argument : arguments) {
            int at = argument.indexOf('=');
            if (at < 0 || !NAMES.contains(argument.substring(0, at))) {
                throw new IllegalArgumentException(argument + ": allowed are " + NAMES + ", each with =value");
            }
            given.put(argument.substring(0, at), argument.substring(at + 1));
        }
        for (String name : NAMES) {
            if (!given.containsKey(name)) {
                throw new IllegalArgumentException(name + "= is missing");
            }
        }
        return new Settings(
                given.get("bootstrap"),
                given.get("application-id"),
                given.get("input"),
                given.get("output-prefix"),
                Long.parseLong(given.get("interval-ms")),
                Integer.parseInt(given.get("threads")),
                Path.of(given.get("state-dir")),
                new Drain(Path.of(given.get("drain-file"))));
    }

    /** Full name of an output topic. */
    public String output(String name) {
        return outputPrefix + name;
    }
}
