package sluicegate.peers.orders;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The end of a measurement: when the file is there, all input is worked off, and what waits for more of it (in windows, and for batches) is to be
 * written as it is.
 */
public record Drain(Path file) {
    /** Whether the file is there. */
    public boolean isAsked() {
        return Files.exists(file);
    }

    /** Tells that a task has nothing left: by a file beside the first one. What it has written is committed at the latest when the program ends in order. */
    public void done(String task) {
        try {
            Path beside = Path.of(file + "." + task);
            if (!Files.exists(beside)) {
                Files.createFile(beside);
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
