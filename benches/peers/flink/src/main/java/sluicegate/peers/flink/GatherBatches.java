package sluicegate.peers.flink;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.runtime.state.StateInitializationContext;
import org.apache.flink.runtime.state.StateSnapshotContext;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.BoundedOneInput;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import sluicegate.peers.orders.Order;
import sluicegate.peers.orders.OrderDecoder;
import sluicegate.peers.orders.OutputEncoder;

/** Gathers accepted events per task. An operator and not a function, because only those hear of the end of the input. */
final class GatherBatches extends AbstractStreamOperator<Output> implements OneInputStreamOperator<Order, Output>, BoundedOneInput {
    private static final long serialVersionUID = 1;

    private transient ListState<byte[]> kept;
    private transient List<byte[]> waiting;
    private transient String batchId;
    private transient long latest;
    private transient OutputEncoder encoder;

    @Override
    public void initializeState(StateInitializationContext context) throws Exception {
        super.initializeState(context);
        encoder = new OutputEncoder();
        waiting = new ArrayList<>();
        kept =
                context.getOperatorStateStore()
                        .getListState(new ListStateDescriptor<>("waiting", PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO));
        OrderDecoder decoder = new OrderDecoder();
        // With another parallelism there may be more than a batch.
        for (byte[] raw : kept.get()) {
            add(decoder.decode(raw).order);
        }
    }

    @Override
    public void snapshotState(StateSnapshotContext context) throws Exception {
        super.snapshotState(context);
        kept.update(waiting);
    }

    @Override
    public void processElement(StreamRecord<Order> record) {
        add(record.getValue());
    }

    private void add(Order order) {
        if (waiting.size() >= OutputEncoder.BATCH) {
            send();
        }
        if (waiting.isEmpty()) {
            batchId = order.identity();
        }
        waiting.add(order.raw);
        latest = order.timestamp;
    }

    private void send() {
        Output batch = new Output(batchId.getBytes(UTF_8), encoder.batch(batchId, waiting), latest);
        output.collect(new StreamRecord<>(batch, latest));
        waiting.clear();
    }

    @Override
    public void endInput() {
        if (!waiting.isEmpty()) {
            send();
        }
    }
}
