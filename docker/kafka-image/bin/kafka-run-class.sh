#!/usr/bin/env bash
# One script for all command line tools: its name, through a link, picks the class.
case "$(basename "$0")" in
  kafka-run-class.sh) class=$1; shift ;;
  kafka-server-start.sh) class=kafka.Kafka ;;
  kafka-storage.sh) class=kafka.tools.StorageTool ;;
  kafka-topics.sh) class=org.apache.kafka.tools.TopicCommand ;;
  kafka-configs.sh) class=kafka.admin.ConfigCommand ;;
  kafka-consumer-groups.sh) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
  kafka-transactions.sh) class=org.apache.kafka.tools.TransactionsCommand ;;
  kafka-console-producer.sh) class=org.apache.kafka.tools.ConsoleProducer ;;
  kafka-console-consumer.sh) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
  kafka-get-offsets.sh) class=org.apache.kafka.tools.GetOffsetShell ;;
  kafka-broker-api-versions.sh) class=org.apache.kafka.tools.BrokerApiVersionsCommand ;;
  kafka-delete-records.sh) class=org.apache.kafka.tools.DeleteRecordsCommand ;;
  kafka-metadata-quorum.sh) class=org.apache.kafka.tools.MetadataQuorumCommand ;;
  kafka-cluster.sh) class=org.apache.kafka.tools.ClusterTool ;;
  kafka-acls.sh) class=kafka.admin.AclCommand ;;
  kafka-leader-election.sh) class=org.apache.kafka.tools.LeaderElectionCommand ;;
  kafka-reassign-partitions.sh) class=org.apache.kafka.tools.reassign.ReassignPartitionsCommand ;;
  kafka-dump-log.sh) class=org.apache.kafka.tools.DumpLogSegments ;;
  *) echo "no class for $0" >&2; exit 64 ;;
esac
# shellcheck disable=SC2086 # a list of flags
exec java -XX:TieredStopAtLevel=1 -Xshare:auto ${KAFKA_HEAP_OPTS:--Xmx256M} -cp '/opt/kafka/libs/*' \
  -Dlog4j2.configurationFile=/etc/kafka/docker/tools-log4j2.yaml "$class" "$@"
