package sluicegate.peers.flink;

/** A record of an output topic. */
public class Output {
    public byte[] key;
    public byte[] value;
    /** In milliseconds since 1970. */
    public long timestamp;
    public String[] headerNames;
    public byte[][] headerValues;

    public Output() {}

    Output(byte[] key, byte[] value, long timestamp) {
        this.key = key;
        this.value = value;
        this.timestamp = timestamp;
    }
}
