package sluicegate.peers.flink;

import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.util.OutputTag;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import sluicegate.peers.orders.EventType;
import sluicegate.peers.orders.Order;
import sluicegate.peers.orders.OutputEncoder;
import sluicegate.peers.orders.Settings;

/**
 * The order job.
 *
 * <pre>
 * orders ─ decode ─ watermarks ─┬─ dedup + track (orderId) ─┬───────────────────────────► order-status
 *                               └─► dead-letters            ├─ CREATED: 1 h windows ────► purchase-stats, late-orders
 *                                                           ├─ stock of each product ───► inventory-levels, low-stock-alerts
 *                                                           └─ batches of 100 ──────────► order-batches
 * </pre>
 */
final class OrderJob {
    static final OutputTag<Output> DEAD_LETTERS = new OutputTag<>("dead-letters", TypeInformation.of(Output.class));
    static final OutputTag<Output> ORDER_STATUS = new OutputTag<>("order-status", TypeInformation.of(Output.class));
    static final OutputTag<Output> LOW_STOCK = new OutputTag<>("low-stock", TypeInformation.of(Output.class));
    static final OutputTag<StockChange> STOCK_CHANGES = new OutputTag<>("stock-changes", TypeInformation.of(StockChange.class));
    static final OutputTag<Order> LATE = new OutputTag<>("late", TypeInformation.of(Order.class));

    private OrderJob() {}

    static void build(StreamExecutionEnvironment environment, Settings settings) {
        SingleOutputStreamOperator<Order> orders =
                environment.fromSource(source(settings), watermarks(), "orders").uid("orders").process(new SplitInput()).uid("split");
        sink(orders.getSideOutput(DEAD_LETTERS), settings, "dead-letters");

        SingleOutputStreamOperator<Order> accepted =
                orders.keyBy(order -> order.orderId, TypeInformation.of(String.class)).process(new FollowOrders()).uid("orders-by-id");
        sink(accepted.getSideOutput(ORDER_STATUS), settings, "order-status");
        sink(
                accepted.transform("batches", TypeInformation.of(Output.class), new GatherBatches()).uid("batches"),
                settings,
                "order-batches");

        SingleOutputStreamOperator<Output> purchases =
                accepted.filter(order -> order.type == EventType.CREATED)
                        .keyBy(order -> order.userId, TypeInformation.of(String.class))
                        .window(TumblingEventTimeWindows.of(Duration.ofMillis(OutputEncoder.WINDOW)))
                        .sideOutputLateData(LATE)
                        .aggregate(new AddPurchases(), new TellPurchases())
                        .uid("purchases");
        sink(purchases, settings, "purchase-stats");
        sink(purchases.getSideOutput(LATE).process(new TellLate()).uid("late"), settings, "late-orders");

        SingleOutputStreamOperator<Output> levels =
                accepted.getSideOutput(STOCK_CHANGES)
                        .keyBy(change -> change.productId, TypeInformation.of(String.class))
                        .process(new KeepStock())
                        .uid("stock");
        sink(levels, settings, "inventory-levels");
        sink(levels.getSideOutput(LOW_STOCK), settings, "low-stock-alerts");
    }

    private static KafkaSource<Input> source(Settings settings) {
        return KafkaSource.<Input>builder()
                .setBootstrapServers(settings.bootstrap())
                .setTopics(settings.input())
                .setGroupId(settings.applicationId())
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setDeserializer(new InputSchema(settings.applicationId()))
                .setProperty("commit.offsets.on.checkpoint", "true")
                .setProperty(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, "2000")
                .setProperty(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed")
                .build();
    }

    /** Per partition, as the source keeps them. */
    private static WatermarkStrategy<Input> watermarks() {
        return WatermarkStrategy.<Input>forBoundedOutOfOrderness(Duration.ofMillis(OutputEncoder.OUT_OF_ORDERNESS))
                // A bad record must not move the time of its partition.
                .withTimestampAssigner((input, kafka) -> input.order == null ? 0 : input.order.timestamp)
                .withIdleness(Duration.ofMillis(OutputEncoder.IDLE));
    }

    private static void sink(DataStream<Output> outputs, Settings settings, String name) {
        KafkaSink<Output> sink =
                KafkaSink.<Output>builder()
                        .setBootstrapServers(settings.bootstrap())
                        .setRecordSerializer(new OutputSchema(settings.output(name)))
                        .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                        .setTransactionalIdPrefix(settings.output(name))
                        // Lists the transactions that were left behind instead of probing for them.
                        .setTransactionNamingStrategy(TransactionNamingStrategy.POOLING)
                        .setProperty(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, "600000")
                        .setProperty(ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4")
                        .setProperty(ProducerConfig.BATCH_SIZE_CONFIG, String.valueOf(128 << 10))
                        .setProperty(ProducerConfig.LINGER_MS_CONFIG, "20")
                        .build();
        outputs.sinkTo(sink).name(name).uid(name);
    }
}
