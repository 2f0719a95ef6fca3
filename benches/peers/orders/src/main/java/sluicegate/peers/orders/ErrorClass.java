package sluicegate.peers.orders;

import java.util.Locale;

/** Classes of bad records. If several apply, the first one counts. */
public enum ErrorClass {
    TOO_LARGE,
    EMPTY,
    INVALID_UTF8,
    MALFORMED_JSON,
    TOO_DEEP,
    DUPLICATE_FIELD,
    MISSING_FIELD,
    WRONG_TYPE,
    UNKNOWN_EVENT_TYPE,
    EMPTY_ID,
    NEGATIVE_NUMBER,
    NUMBER_OUT_OF_RANGE,
    INEXACT_MONEY,
    QUANTITY_BELOW_ONE,
    TIMESTAMP_OUT_OF_RANGE;

    private final String wireName = name().toLowerCase(Locale.ROOT);

    /** As the header of a dead letter has it. */
    public String wireName() {
        return wireName;
    }
}
