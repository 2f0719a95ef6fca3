import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Conversions;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.BinaryMessageEncoder;

/** How fast Java's Avro and Jackson are, see main.rs: SCHEMA FOLDER ROUNDS prints a row for each, as JSON. */
public class Speed {
    /** Rounds before those that count, until the compiler has had its time: so many, or until so many seconds are over. */
    private static final int WARM_UP_ROUNDS = 200;
    private static final long WARM_UP_NANOS = 5_000_000_000L;
    private static final ObjectMapper JSON = new ObjectMapper().enable(JsonGenerator.Feature.WRITE_BIGDECIMAL_AS_PLAIN);
    /** What is decoded or encoded goes here, so that no compiler leaves it out. */
    public static volatile Object sink;

    public enum Kind { CREATED, PAYMENT_COMPLETED, SHIPPED, DELIVERED, CANCELLED }

    public static class Item {
        public String productId;
        public String productName;
        public long quantity;
        public BigDecimal price;
    }

    public static class Order {
        public String orderId;
        public String userId;
        public Kind eventType;
        public BigDecimal amount;
        public long itemCount;
        public String category;
        public List<Item> items;
        public long timestamp;
    }

    interface Codec<T> {
        T decode(byte[] record) throws Exception;

        byte[] encode(T value) throws Exception;

        Order order(T value);
    }

    public static void main(String[] arguments) throws Exception {
        Schema schema = new Schema.Parser().parse(Path.of(arguments[0]).toFile());
        Path folder = Path.of(arguments[1]);
        int rounds = Integer.parseInt(arguments[2]);
        String java = " (Java " + Runtime.version().feature() + ")";
        GenericData model = new GenericData();
        // Decimals as a user has them; times stay numbers, as in our own types.
        model.addLogicalTypeConversion(new Conversions.DecimalConversion());
        String avro = "Java Avro " + version(Schema.class, "1.12") + ", generic record" + java;
        measure("json", "Java Jackson " + version(ObjectMapper.class, "2") + ", into a class" + java, folder, rounds, new Jackson());
        measure("avro", avro, folder, rounds, new Framed(schema, model));
        measure("avro-single-object", avro, folder, rounds, new SingleObject(schema, model));
    }

    private static String version(Class<?> of, String otherwise) {
        String version = of.getPackage().getImplementationVersion();
        return version == null ? otherwise : version;
    }

    private static <T> void measure(String format, String who, Path folder, int rounds, Codec<T> codec) throws Exception {
        List<byte[]> records = records(folder.resolve(format));
        List<T> values = new ArrayList<>();
        for (byte[] record : records) {
            values.add(codec.decode(record));
        }
        long bytes = 0;
        long hash = 0xcbf29ce484222325L;
        Map<String, Long> sums = new LinkedHashMap<>();
        for (T value : values) {
            byte[] written = codec.encode(value);
            bytes += written.length;
            for (byte part : written) {
                hash = (hash ^ (part & 0xff)) * 0x100000001b3L;
            }
            addUp(sums, codec.order(value));
        }
        double decode = median(rounds, records.size(), () -> {
            for (byte[] record : records) {
                sink = codec.decode(record);
            }
        });
        double encode = median(rounds, records.size(), () -> {
            for (T value : values) {
                sink = codec.encode(value);
            }
        });
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("format", format);
        row.put("who", who);
        row.put("decode", decode);
        row.put("encode", encode);
        row.put("bytes", (double) bytes / records.size());
        row.put("hash", new java.math.BigInteger(Long.toUnsignedString(hash)));
        row.put("sums", sums);
        System.out.println(JSON.writeValueAsString(row));
    }

    interface Round {
        void run() throws Exception;
    }

    private static double median(int rounds, int events, Round round) throws Exception {
        long begin = System.nanoTime();
        // A single round is a check of what is read, not of time.
        for (int done = 0; rounds > 1 && done < WARM_UP_ROUNDS && System.nanoTime() - begin < WARM_UP_NANOS; done++) {
            round.run();
        }
        double[] times = new double[rounds];
        for (int done = 0; done < rounds; done++) {
            long started = System.nanoTime();
            round.run();
            times[done] = (double) (System.nanoTime() - started) / events;
        }
        Arrays.sort(times);
        return times[rounds / 2];
    }

    private static List<byte[]> records(Path path) throws Exception {
        List<byte[]> records = new ArrayList<>();
        try (DataInputStream input = new DataInputStream(new java.io.BufferedInputStream(Files.newInputStream(path), 1 << 20))) {
            while (true) {
                byte[] record = new byte[input.readInt()];
                input.readFully(record);
                records.add(record);
            }
        } catch (java.io.EOFException end) {
            return records;
        }
    }

    private static void addUp(Map<String, Long> sums, Order order) {
        long cents = order.amount.setScale(2).unscaledValue().longValueExact();
        long pieces = order.itemCount;
        long letters = letters(order.orderId) + letters(order.userId) + letters(order.category);
        for (Item item : order.items) {
            cents += item.price.setScale(2).unscaledValue().longValueExact();
            pieces += item.quantity;
            letters += letters(item.productId) + letters(item.productName);
        }
        Map.of("events", 1L, "cents", cents, "pieces", pieces, "letters", letters, "types", (long) order.eventType.ordinal(),
                "milliseconds", order.timestamp).forEach((name, value) -> sums.merge(name, value, Long::sum));
    }

    private static long letters(String text) {
        return text.getBytes(StandardCharsets.UTF_8).length;
    }

    /** Jackson, into a class with the fields. */
    static class Jackson implements Codec<Order> {
        @Override
        public Order decode(byte[] record) throws Exception {
            return JSON.readValue(record, Order.class);
        }

        @Override
        public byte[] encode(Order value) throws Exception {
            return JSON.writeValueAsBytes(value);
        }

        @Override
        public Order order(Order value) {
            return value;
        }
    }

    /** Avro's generic records, behind the header that Confluent's serializers write. */
    static class Framed implements Codec<GenericRecord> {
        private final GenericDatumReader<GenericRecord> reader;
        private final GenericDatumWriter<GenericRecord> writer;
        private final ByteArrayOutputStream out = new ByteArrayOutputStream(1024);
        private BinaryDecoder decoder;
        private BinaryEncoder encoder;

        Framed(Schema schema, GenericData model) {
            reader = new GenericDatumReader<>(schema, schema, model);
            writer = new GenericDatumWriter<>(schema, model);
        }

        @Override
        public GenericRecord decode(byte[] record) throws Exception {
            ByteBuffer header = ByteBuffer.wrap(record, 0, 5);
            if (header.get() != 0 || header.getInt() != 1) {
                throw new IllegalArgumentException("another header");
            }
            decoder = DecoderFactory.get().binaryDecoder(record, 5, record.length - 5, decoder);
            return reader.read(null, decoder);
        }

        @Override
        public byte[] encode(GenericRecord value) throws Exception {
            out.reset();
            out.write(0);
            out.write(ByteBuffer.allocate(4).putInt(1).array());
            encoder = EncoderFactory.get().binaryEncoder(out, encoder);
            writer.write(value, encoder);
            encoder.flush();
            return out.toByteArray();
        }

        @Override
        public Order order(GenericRecord value) {
            return fromAvro(value);
        }
    }

    /** Avro's own single-object encoding. */
    static class SingleObject implements Codec<GenericRecord> {
        private final BinaryMessageDecoder<GenericRecord> decoder;
        private final BinaryMessageEncoder<GenericRecord> encoder;

        SingleObject(Schema schema, GenericData model) {
            decoder = new BinaryMessageDecoder<>(model, schema);
            encoder = new BinaryMessageEncoder<>(model, schema);
        }

        @Override
        public GenericRecord decode(byte[] record) throws Exception {
            return decoder.decode(record);
        }

        @Override
        public byte[] encode(GenericRecord value) throws Exception {
            ByteBuffer bytes = encoder.encode(value);
            byte[] record = new byte[bytes.remaining()];
            bytes.get(record);
            return record;
        }

        @Override
        public Order order(GenericRecord value) {
            return fromAvro(value);
        }
    }

    private static Order fromAvro(GenericRecord value) {
        Order order = new Order();
        order.orderId = value.get("orderId").toString();
        order.userId = value.get("userId").toString();
        order.eventType = Kind.valueOf(value.get("eventType").toString());
        order.amount = (BigDecimal) value.get("amount");
        order.itemCount = (Long) value.get("itemCount");
        order.category = value.get("category").toString();
        order.timestamp = (Long) value.get("timestamp");
        order.items = new ArrayList<>();
        for (Object part : (List<?>) value.get("items")) {
            GenericRecord given = (GenericRecord) part;
            Item item = new Item();
            item.productId = given.get("productId").toString();
            item.productName = given.get("productName").toString();
            item.quantity = (Long) given.get("quantity");
            item.price = (BigDecimal) given.get("price");
            order.items.add(item);
        }
        return order;
    }
}
