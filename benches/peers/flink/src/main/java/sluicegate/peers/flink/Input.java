package sluicegate.peers.flink;

import sluicegate.peers.orders.Order;

/** An input record: an order, or a dead letter. */
public class Input {
    public Order order;
    public Output deadLetter;
}
