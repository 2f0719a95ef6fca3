package sluicegate.peers.orders;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Writes JSON into a buffer that is used again. */
final class JsonText {
    private static final byte[] HEX = ascii("0123456789abcdef");

    private byte[] bytes = new byte[512];
    private int length;
    private final byte[] digits = new byte[20];

    static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    JsonText begin() {
        length = 0;
        return this;
    }

    byte[] end() {
        return Arrays.copyOf(bytes, length);
    }

    JsonText raw(byte[] text) {
        room(text.length);
        System.arraycopy(text, 0, bytes, length, text.length);
        length += text.length;
        return this;
    }

    JsonText raw(char character) {
        room(1);
        bytes[length++] = (byte) character;
        return this;
    }

    JsonText string(String text) {
        raw('"');
        room(text.length());
        for (int at = 0; at < text.length(); at++) {
            char character = text.charAt(at);
            if (character < ' ' || character == '"' || character == '\\' || character > '~') {
                return rest(text.substring(at));
            }
            bytes[length++] = (byte) character;
        }
        return raw('"');
    }

    /** The part of a string that begins with something unusual, and the quotation mark behind it. */
    private JsonText rest(String text) {
        for (byte unit : text.getBytes(StandardCharsets.UTF_8)) {
            room(6);
            if (unit == '"' || unit == '\\') {
                bytes[length++] = '\\';
                bytes[length++] = unit;
            } else if (unit >= 0 && unit < ' ') {
                raw(ascii("\\u00")).raw((char) HEX[unit >> 4]).raw((char) HEX[unit & 15]);
            } else {
                bytes[length++] = unit;
            }
        }
        return raw('"');
    }

    JsonText number(long number) {
        if (number < 0) {
            // Also right for the smallest one, whose absolute value is none.
            return raw(ascii(Long.toString(number)));
        }
        int at = digits.length;
        do {
            digits[--at] = (byte) ('0' + number % 10);
            number /= 10;
        } while (number != 0);
        int count = digits.length - at;
        room(count);
        System.arraycopy(digits, at, bytes, length, count);
        length += count;
        return this;
    }

    JsonText numberOrNull(long number, long none) {
        return number == none ? raw(ascii("null")) : number(number);
    }

    JsonText money(long cents) {
        long places = cents % 100;
        return number(cents / 100).raw('.').raw((char) ('0' + places / 10)).raw((char) ('0' + places % 10));
    }

    private void room(int more) {
        if (length + more > bytes.length) {
            bytes = Arrays.copyOf(bytes, Math.max(2 * bytes.length, length + more));
        }
    }
}
