package sluicegate.peers.orders;

import java.math.BigDecimal;

/** Exact amounts, in hundredths. */
public final class Money {
    /** 999999999999999.99 */
    private static final long MOST = 99_999_999_999_999_999L;
    /** Digits that a plain amount may have: as many as MOST. */
    private static final int DIGITS = 17;

    private Money() {}

    /** An amount that is written in another way than most. The first of several errors counts. */
    record Unusual(long cents, ErrorClass error) {}

    /** Digits, and at most two places: nearly all amounts. Negative for anything else. */
    static long plain(char[] text, int from, int length) {
        long number = 0;
        int places = -1;
        int digits = 0;
        for (int at = from; at < from + length; at++) {
            char character = text[at];
            if (character == '.' && places < 0) {
                places = 0;
            } else if (character >= '0' && character <= '9' && places < 2 && digits < DIGITS - 2) {
                number = 10 * number + (character - '0');
                digits++;
                places += places >= 0 ? 1 : 0;
            } else {
                return -1;
            }
        }
        return switch (places) {
            case 2 -> number;
            case 1 -> 10 * number;
            default -> 100 * number;
        };
    }

    /** Signs, exponents, more places, many digits. */
    static Unusual unusual(String text) {
        BigDecimal number;
        try {
            number = new BigDecimal(text);
        } catch (NumberFormatException error) {
            // The exponent does not fit into 32 bits.
            return new Unusual(0, ErrorClass.NUMBER_OUT_OF_RANGE);
        }
        if (number.signum() == 0) {
            return new Unusual(0, null);
        }
        if (number.signum() < 0) {
            return new Unusual(0, ErrorClass.NEGATIVE_NUMBER);
        }
        if ((long) number.precision() - number.scale() > DIGITS - 2) {
            return new Unusual(0, ErrorClass.NUMBER_OUT_OF_RANGE);
        }
        number = number.stripTrailingZeros();
        if (number.scale() > 2) {
            return new Unusual(0, ErrorClass.INEXACT_MONEY);
        }
        long cents = number.movePointRight(2).longValueExact();
        return new Unusual(cents, cents > MOST ? ErrorClass.NUMBER_OUT_OF_RANGE : null);
    }

    /** Total / count, rounded half to even. */
    static long average(long total, long count) {
        long average = total / count;
        long twice = 2 * (total % count);
        boolean up = twice > count || (twice == count && average % 2 != 0);
        return up ? average + 1 : average;
    }
}
