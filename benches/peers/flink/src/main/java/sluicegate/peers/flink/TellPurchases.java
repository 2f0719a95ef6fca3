package sluicegate.peers.flink;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;
import sluicegate.peers.orders.OutputEncoder;
import sluicegate.peers.orders.PurchaseStats;

/** Writes a window that is over. */
final class TellPurchases extends ProcessWindowFunction<PurchaseStats, Output, String, TimeWindow> {
    private static final long serialVersionUID = 1;

    private transient OutputEncoder encoder;

    @Override
    public void open(OpenContext context) {
        encoder = new OutputEncoder();
    }

    @Override
    public void process(String user, Context context, Iterable<PurchaseStats> sums, Collector<Output> out) {
        TimeWindow window = context.window();
        for (PurchaseStats stats : sums) {
            byte[] value = encoder.purchaseStats(user, window.getStart(), stats);
            out.collect(new Output(user.getBytes(UTF_8), value, window.maxTimestamp()));
        }
    }
}
