package sluicegate.peers.flink;

/** What an order changes in the stock of a product. */
public class StockChange {
    public String productId;
    public String orderId;
    public long change;
    public long timestamp;

    public StockChange() {}

    StockChange(String productId, String orderId, long change, long timestamp) {
        this.productId = productId;
        this.orderId = orderId;
        this.change = change;
        this.timestamp = timestamp;
    }
}
