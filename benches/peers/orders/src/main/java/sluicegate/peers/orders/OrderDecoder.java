package sluicegate.peers.orders;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Decodes input records in one pass over their bytes. Not for several threads at once. */
public final class OrderDecoder {
    private static final int MAX_RECORD_BYTES = 900 * 1024;
    private static final int MAX_DEPTH = 32;
    private static final long MIN_TIMESTAMP = 946_684_800_000L;
    private static final long MAX_TIMESTAMP = 4_102_444_800_000L;
    private static final long MAX_COUNT = 4_294_967_295L;

    /** Fields of an order, one bit each. */
    private static final String[] FIELDS = {
        "orderId", "userId", "eventType", "amount", "itemCount", "category", "items", "timestamp"
    };
    /** Fields of an item, one bit each. */
    private static final String[] ITEM_FIELDS = {"productId", "productName", "quantity", "price"};

    private final JsonFactory factory =
            JsonFactory.builder()
                    .streamReadConstraints(
                            StreamReadConstraints.builder()
                                    .maxNestingDepth(MAX_DEPTH)
                                    .maxStringLength(MAX_RECORD_BYTES)
                                    .maxNumberLength(MAX_RECORD_BYTES)
                                    .maxNameLength(MAX_RECORD_BYTES)
                                    .build())
                    .build();

    private ErrorClass worst;
    private String message;
    private String[] products = new String[16];
    private long[] quantities = new long[16];

    /** The order in {@code value}, or what is wrong with it. */
    public Decoded decode(byte[] value) {
        worst = null;
        if (value == null || value.length == 0) {
            return bad(value, ErrorClass.EMPTY, "the record has no bytes");
        }
        if (value.length > MAX_RECORD_BYTES) {
            return bad(value, ErrorClass.TOO_LARGE, value.length + " bytes; allowed are " + MAX_RECORD_BYTES);
        }
        if (!beginsLikeUtf8(value)) {
            return bad(value, isUtf8(value) ? ErrorClass.MALFORMED_JSON : ErrorClass.INVALID_UTF8, "not JSON in UTF-8");
        }
        Order order = new Order();
        order.raw = value;
        try (JsonParser json = factory.createParser(value)) {
            if (json.nextToken() == JsonToken.START_OBJECT) {
                order(json, order);
            } else {
                against(ErrorClass.WRONG_TYPE, "it is not an object");
                json.skipChildren();
            }
            if (json.nextToken() != null) {
                return bad(value, ErrorClass.MALFORMED_JSON, "there is something behind the object");
            }
        } catch (StreamConstraintsException error) {
            return bad(value, ErrorClass.TOO_DEEP, error.getOriginalMessage());
        } catch (IOException error) {
            ErrorClass kind = isUtf8(value) ? ErrorClass.MALFORMED_JSON : ErrorClass.INVALID_UTF8;
            return bad(value, kind, error.getMessage());
        }
        return worst == null ? new Decoded(order) : bad(value, worst, message);
    }

    private static Decoded bad(byte[] value, ErrorClass error, String message) {
        return new Decoded(new BadRecord(error, message == null ? error.wireName() : message), value);
    }

    private void against(ErrorClass error, String why) {
        if (worst == null || error.compareTo(worst) < 0) {
            worst = error;
            message = why;
        }
    }

    private void order(JsonParser json, Order order) throws IOException {
        int seen = 0;
        while (json.nextToken() != JsonToken.END_OBJECT) {
            String name = json.currentName();
            JsonToken token = json.nextToken();
            int bit;
            switch (name) {
                case "orderId" -> {
                    bit = 1;
                    order.orderId = identifier(json, token, name);
                }
                case "userId" -> {
                    bit = 2;
                    order.userId = identifier(json, token, name);
                }
                case "eventType" -> {
                    bit = 4;
                    order.type = eventType(json, token);
                }
                case "amount" -> {
                    bit = 8;
                    order.amount = money(json, token, name);
                }
                case "itemCount" -> {
                    bit = 16;
                    order.itemCount = count(json, token, name, 0, ErrorClass.NEGATIVE_NUMBER);
                }
                case "category" -> {
                    bit = 32;
                    order.category = string(json, token, name);
                }
                case "items" -> {
                    bit = 64;
                    items(json, token, order);
                }
                case "timestamp" -> {
                    bit = 128;
                    order.timestamp = timestamp(json, token);
                }
                default -> {
                    json.skipChildren();
                    continue;
                }
            }
            seen = note(seen, bit, name);
        }
        complete(seen, FIELDS);
    }

    private void items(JsonParser json, JsonToken token, Order order) throws IOException {
        if (token != JsonToken.START_ARRAY) {
            wrongType(json, "items is not an array");
            return;
        }
        int items = 0;
        JsonToken element;
        while ((element = json.nextToken()) != JsonToken.END_ARRAY) {
            if (element != JsonToken.START_OBJECT) {
                wrongType(json, "an item is not an object");
                continue;
            }
            if (items == products.length) {
                products = Arrays.copyOf(products, 2 * items);
                quantities = Arrays.copyOf(quantities, 2 * items);
            }
            item(json, items++);
        }
        order.products = Arrays.copyOf(products, items);
        order.quantities = Arrays.copyOf(quantities, items);
    }

    private void item(JsonParser json, int index) throws IOException {
        int seen = 0;
        while (json.nextToken() != JsonToken.END_OBJECT) {
            String name = json.currentName();
            JsonToken token = json.nextToken();
            int bit;
            switch (name) {
                case "productId" -> {
                    bit = 1;
                    products[index] = identifier(json, token, name);
                }
                case "productName" -> {
                    bit = 2;
                    string(json, token, name);
                }
                case "quantity" -> {
                    bit = 4;
                    quantities[index] = count(json, token, name, 1, ErrorClass.QUANTITY_BELOW_ONE);
                }
                case "price" -> {
                    bit = 8;
                    money(json, token, name);
                }
                default -> {
                    json.skipChildren();
                    continue;
                }
            }
            seen = note(seen, bit, name);
        }
        complete(seen, ITEM_FIELDS);
    }

    private int note(int seen, int bit, String name) {
        if ((seen & bit) != 0) {
            against(ErrorClass.DUPLICATE_FIELD, name + " is there twice");
        }
        return seen | bit;
    }

    private void complete(int seen, String[] names) {
        if (seen != (1 << names.length) - 1) {
            against(ErrorClass.MISSING_FIELD, names[Integer.numberOfTrailingZeros(~seen)] + " is missing");
        }
    }

    private void wrongType(JsonParser json, String why) throws IOException {
        against(ErrorClass.WRONG_TYPE, why);
        json.skipChildren();
    }

    private String string(JsonParser json, JsonToken token, String name) throws IOException {
        if (token != JsonToken.VALUE_STRING) {
            wrongType(json, name + " is not a string");
            return "";
        }
        String text = json.getText();
        if (hasHalfOfAPair(text)) {
            against(ErrorClass.MALFORMED_JSON, name + " has half of a surrogate pair");
        }
        return text;
    }

    private String identifier(JsonParser json, JsonToken token, String name) throws IOException {
        String text = string(json, token, name);
        if (text.isEmpty()) {
            against(ErrorClass.EMPTY_ID, name + " is empty");
        }
        return text;
    }

    private EventType eventType(JsonParser json, JsonToken token) throws IOException {
        String name = string(json, token, "eventType");
        EventType type = EventType.named(name);
        if (type == null) {
            against(ErrorClass.UNKNOWN_EVENT_TYPE, "eventType is " + name);
        }
        return type;
    }

    private long money(JsonParser json, JsonToken token, String name) throws IOException {
        if (token != JsonToken.VALUE_NUMBER_FLOAT && token != JsonToken.VALUE_NUMBER_INT) {
            wrongType(json, name + " is not a number");
            return 0;
        }
        long cents = Money.plain(json.getTextCharacters(), json.getTextOffset(), json.getTextLength());
        if (cents >= 0) {
            return cents;
        }
        Money.Unusual unusual = Money.unusual(json.getText());
        if (unusual.error() != null) {
            against(unusual.error(), name + " is " + json.getText());
        }
        return unusual.cents();
    }

    private long count(JsonParser json, JsonToken token, String name, long least, ErrorClass tooFew) throws IOException {
        if (token != JsonToken.VALUE_NUMBER_INT) {
            wrongType(json, name + " is not a whole number");
            return 0;
        }
        long number = clamped(json);
        if (number < least) {
            against(tooFew, name + " is " + json.getText());
        } else if (number > MAX_COUNT) {
            against(ErrorClass.NUMBER_OUT_OF_RANGE, name + " is " + json.getText());
        }
        return number;
    }

    private long timestamp(JsonParser json, JsonToken token) throws IOException {
        if (token != JsonToken.VALUE_NUMBER_INT) {
            wrongType(json, "timestamp is not a whole number");
            return 0;
        }
        long time = clamped(json);
        if (time < MIN_TIMESTAMP || time > MAX_TIMESTAMP) {
            against(ErrorClass.TIMESTAMP_OUT_OF_RANGE, "timestamp is " + json.getText());
        }
        return time;
    }

    /** A whole number; one that is too long as the nearest that is not. */
    private static long clamped(JsonParser json) throws IOException {
        if (json.getNumberType() != JsonParser.NumberType.BIG_INTEGER) {
            return json.getLongValue();
        }
        BigInteger number = json.getBigIntegerValue();
        return number.signum() < 0 ? Long.MIN_VALUE : Long.MAX_VALUE;
    }

    private static boolean hasHalfOfAPair(String text) {
        for (int at = 0; at < text.length(); at++) {
            char unit = text.charAt(at);
            if (Character.isSurrogate(unit)) {
                boolean pair = at + 1 < text.length() && Character.isSurrogatePair(unit, text.charAt(at + 1));
                if (!pair) {
                    return true;
                }
                at++;
            }
        }
        return false;
    }

    /** Jackson would take a byte order mark, and UTF-16 and UTF-32 by the zeros at their beginning. */
    private static boolean beginsLikeUtf8(byte[] value) {
        return value[0] != (byte) 0xef && value[0] > 0 && (value.length == 1 || value[1] != 0);
    }

    private static boolean isUtf8(byte[] value) {
        try {
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(value));
            return true;
        } catch (CharacterCodingException error) {
            return false;
        }
    }
}
